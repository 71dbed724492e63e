//! `shards`: how many workers share a layer.

use serde::{Deserialize, Serialize};

use crate::grid::Grid;

/// How many workers share a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// As many as there are on machines of their own: local workers share only what trains together with other layers, for they have
    /// the same cores.
    Auto,
    /// So many at most.
    AtMost(u16),
    /// Those of a grid, or of a smaller one where there are not as many or the layer has not as many parts.
    Within(Grid),
}

impl std::str::FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self::AtMost(number)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Within).map_err(|()| {
                format!(
                    "found `{text}`, expected a number of workers, 1 or more, a grid such as `2x3`, or `auto`"
                )
            }),
        }
    }
}

impl Serialize for Shards {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::AtMost(number) => serializer.serialize_u16(*number),
            Self::Within(grid) => serializer.collect_str(grid),
        }
    }
}

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::parse;
    use super::*;

    const TEXT: &str = include_str!("../../../configs/iris.toml");

    #[test]
    fn a_layer_is_shared_by_a_number_of_workers_or_all() {
        let shards = |given: &str| {
            let set = [format!("layers.0.shards={given}")];
            parse("iris.toml", TEXT, &set).map(|config| config.layers[0].shards)
        };
        assert_eq!(shards("4").unwrap(), Some(Shards::AtMost(4)));
        assert_eq!(shards("auto").unwrap(), Some(Shards::Auto));
        assert_eq!(shards("2x3").unwrap(), Some(Shards::Within(Grid { rows: 2, columns: 3 })));
        for wrong in ["0", "3x0", "2x", "x"] {
            let error = shards(wrong).unwrap_err().to_string();
            let expected = format!("layers[0].shards: found `{wrong}`, expected a number of workers");
            assert!(error.contains(&expected), "{error}");
        }
        for set in
            [["layers.0.shards=3", "layers.1.shards=auto"], ["layers.0.shards=2x3", "layers.1.shards=1x4"]]
        {
            let config = parse("iris.toml", TEXT, &set.map(str::to_owned)).unwrap();
            assert_eq!(parse("again", &config.to_toml(), &[]).unwrap(), config);
        }
    }
}
