//! What a process logs on standard error: lines for people, or one JSON object a line for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::output::{Log, write_line};

/// For whom lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: every line is one JSON object, with run, layer and worker where they are known.
    Json,
}

/// How a process logs, on its command line.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LogArgs {
    /// How lines on standard error are written. RUST_LOG chooses how many there are.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t, env = LogFormat::VARIABLE)]
    pub log_format: LogFormat,
}

/// What this process writes, once that has been said.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();
/// What every JSON object of this process says besides.
static STANDING: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());

impl LogFormat {
    /// The environment variable of the same meaning.
    pub const VARIABLE: &str = "STRATA_LOG_FORMAT";

    /// That of this process.
    pub fn of_this_process() -> Self {
        FORMAT.get().copied().unwrap_or_default()
    }
}

impl Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// From here on the process logs in `format`: first thing in `main`. `targets`: whether lines for people say which module
/// they come from.
pub fn begin(format: LogFormat, targets: bool) {
    let format = *FORMAT.get_or_init(|| format);
    let log = tracing_subscriber::fmt().with_env_filter(filter()).with_writer(|| Log);
    match format {
        LogFormat::Text => {
            let text = Format::default().with_target(targets);
            log.with_ansi(std::io::stderr().is_terminal()).event_format(text).init();
        }
        LogFormat::Json => {
            log.with_ansi(false).fmt_fields(JsonFields).event_format(JsonLines).init();
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        }
    }
}

/// What RUST_LOG says. Who breaks the rules of HTTP/2 can have `h2` write a line for each frame: that is asked for by its name.
fn filter() -> EnvFilter {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(if wanted.is_empty() { "info" } else { &wanted });
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    if wanted.contains("h2") {
        return filter;
    }
    filter.add_directive("h2=error".parse().expect("a directive"))
}

/// Has every JSON object say this, such as which run the process works for.
pub fn always(name: &'static str, value: impl Display) {
    STANDING.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value.to_string());
}

/// Says a line to whoever watches, whatever RUST_LOG says of lines for people.
pub fn say(line: impl Display) {
    match LogFormat::of_this_process() {
        LogFormat::Text => write_line(line),
        LogFormat::Json => tracing::info!("{line}"),
    }
}

/// Says why the process ends: its last line, which begins with `who` where it is for people.
pub fn fail(who: &str, error: impl Display) {
    match LogFormat::of_this_process() {
        LogFormat::Text => write_line(format_args!("{who}: {error}")),
        LogFormat::Json => tracing::error!("{error}"),
    }
}

/// Writes events as JSON objects: time, level and message, what is true of the process, of the spans around it, and its own fields.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        fields.insert("time", json!(time));
        fields.insert("level", json!(metadata.level().as_str().to_ascii_lowercase()));
        fields.insert("target", json!(metadata.target()));
        fields.insert("message", json!(""));
        for (name, value) in &*STANDING.lock().unwrap_or_else(PoisonError::into_inner) {
            fields.insert(name, json!(value));
        }
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>() {
                fields.read(formatted);
            }
        }
        event.record(&mut fields);
        writeln!(writer, "{fields}")
    }
}

/// Keeps the fields of spans as JSON objects.
struct JsonFields;

impl<'a> FormatFields<'a> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, record: R) -> fmt::Result {
        let mut fields = Fields::default();
        record.record(&mut fields);
        write!(writer, "{fields}")
    }

    fn add_fields(&self, known: &'a mut FormattedFields<Self>, record: &Record<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        fields.read(known);
        record.record(&mut fields);
        known.fields = fields.to_string();
        Ok(())
    }
}

/// Fields of an event or a span, in their order.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Takes in those of a span.
    fn read(&mut self, formatted: &FormattedFields<JsonFields>) {
        let fields: Map<String, Value> = serde_json::from_str(&formatted.fields).unwrap_or_default();
        fields.into_iter().for_each(|(name, value)| self.insert(&name, value));
    }

    /// Each name is there once: what is said last, and closest to the event, counts.
    fn insert(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            write!(f, "{before}{}:{value}", json!(name))?;
        }
        f.write_str(if self.0.is_empty() { "{}" } else { "}" })
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field.name(), json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), json!(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_object_says_what_the_spans_around_it_say_and_no_name_twice() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
        let log = log.fmt_fields(JsonFields).event_format(JsonLines).finish();
        tracing::subscriber::with_default(log, || {
            let outer = tracing::info_span!("train", run = tracing::field::Empty, layer = 1).entered();
            outer.record("run", "a\n\"b");
            let _inner = tracing::info_span!("step", layer = 2_u64, peer = Some(3)).entered();
            tracing::warn!(loss = 0.5, nan = f64::NAN, "line\n{}", 2);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("{\"time\":\"") && text.contains("\"level\":\"warn\""), "{text}");
        assert_eq!(text.matches("\"layer\":").count(), 1, "{text}");
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "line\n2");
        assert_eq!((&object["run"], &object["layer"]), (&json!("a\n\"b"), &json!(2)));
        assert_eq!(
            (&object["peer"], &object["loss"], &object["nan"]),
            (&json!(3), &json!(0.5), &Value::Null)
        );
    }
}
