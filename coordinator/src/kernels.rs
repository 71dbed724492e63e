//! Which BLAS kernel a run computes with: one whose bits all its workers have, and the fastest of those.
//!
//! Kernels are compared by the digest of their bits. Names and versions are for people: the same name may stand for other
//! bits in another library, and two names for the same.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use proto::kernels::{Digest, Kernel};
use proto::process::KernelChoice;
use scff::blas::kernels::{pace, place};

/// What a worker can compute with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which worker, in words.
    pub worker: String,
    /// Its library, such as `OpenBLAS 0.3.21`.
    pub blas: String,
    /// The kernel that it uses.
    pub in_use: String,
    /// Those that it has.
    pub kernels: Vec<Kernel>,
}

/// What a run computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Library and kernel, such as `OpenBLAS 0.3.21 Haswell`; workers may have the same bits from others.
    pub blas: String,
    /// Of its bits.
    pub digest: Digest,
}

/// What a run has begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// Library and kernel.
    pub blas: String,
    /// Of its bits; runs of earlier versions have none.
    pub digest: Option<Digest>,
}

/// Why there is no kernel to compute with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// No digest is everybody's.
    #[error("the workers have no BLAS kernel{} whose bits are the same on all: {offers}", named(.kernel))]
    NoneShared {
        /// The kernel that was asked for, if one was.
        kernel: KernelChoice,
        /// What each has.
        offers: String,
    },
    /// The run goes on with another kernel than the one that is asked for now.
    #[error(
        "this run was started with {began}, whose bits are other ones than those of {kernel}; give the --blas-kernel \
         of before, or none"
    )]
    OtherKernel {
        /// What the run has begun with.
        began: String,
        /// What is asked for.
        kernel: String,
    },
    /// Nobody has what the run has begun with.
    #[error("this run was started with {began}, and no worker has it: {offers}")]
    Gone {
        /// What the run has begun with.
        began: String,
        /// What each has.
        offers: String,
    },
}

fn named(kernel: &KernelChoice) -> String {
    match kernel {
        KernelChoice::Auto => String::new(),
        KernelChoice::Named(name) => format!(" {name}"),
    }
}

impl Offer {
    fn digest_of(&self, name: &str) -> Option<&Digest> {
        self.kernels.iter().find(|kernel| kernel.name.eq_ignore_ascii_case(name)).map(|kernel| &kernel.digest)
    }

    fn digests(&self) -> BTreeSet<&Digest> {
        self.kernels.iter().map(|kernel| &kernel.digest).collect()
    }

    /// The kernel that this worker is to use for these bits: the one that was asked for, or that it uses already, or else the
    /// first of those that have them.
    pub fn kernel_for(&self, digest: &Digest, wanted: &KernelChoice) -> Option<&str> {
        let has = |name: &str| self.digest_of(name) == Some(digest);
        let fits = self.kernels.iter().filter(|kernel| kernel.digest == *digest);
        let mut names = fits.map(|kernel| kernel.name.as_str());
        match wanted {
            KernelChoice::Named(name) if has(name) => names.find(|found| found.eq_ignore_ascii_case(name)),
            _ if has(&self.in_use) => Some(&self.in_use),
            _ => names.next(),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        let names =
            if names.is_empty() { "no kernel that passes its self-test".into() } else { names.join(", ") };
        write!(f, "{} has {} with {names}", self.worker, self.blas)
    }
}

/// What a run on these workers computes with, where `wanted` was asked for.
pub fn agree(offers: &[Offer], began: Option<&Began>, wanted: &KernelChoice) -> Result<Agreed, Disagreement> {
    match began {
        Some(began) => go_on(offers, began, wanted),
        None => begin(offers, wanted),
    }
}

/// A run keeps the bits that it began with.
fn go_on(offers: &[Offer], began: &Began, wanted: &KernelChoice) -> Result<Agreed, Disagreement> {
    let blas = began.blas.clone();
    let called_so = |offer: &Offer| {
        let is = |kernel: &&Kernel| format!("{} {}", offer.blas, kernel.name) == began.blas;
        offer.kernels.iter().find(is).map(|kernel| kernel.digest.clone())
    };
    let digest = began.digest.clone().or_else(|| offers.iter().find_map(called_so));
    let Some(digest) = digest.filter(|digest| offers.iter().any(|offer| offer.digests().contains(digest)))
    else {
        return Err(Disagreement::Gone { began: blas, offers: list(offers) });
    };
    if let KernelChoice::Named(name) = wanted
        && offers.iter().all(|offer| offer.digest_of(name) != Some(&digest))
    {
        return Err(Disagreement::OtherKernel { began: blas, kernel: name.clone() });
    }
    Ok(Agreed { blas, digest })
}

/// One of the fastest kernels whose bits everybody has: of those that are about as fast, the one that most of them use already, so
/// that running workers and local ones on the same machine have the same bits. Whoever has none at all has no say.
fn begin(offers: &[Offer], wanted: &KernelChoice) -> Result<Agreed, Disagreement> {
    let voters = || offers.iter().filter(|offer| !offer.kernels.is_empty());
    let shared = voters().map(Offer::digests).reduce(|shared, own| &shared & &own).unwrap_or_default();
    let is_wanted = |digest: &&Digest| match wanted {
        KernelChoice::Auto => true,
        KernelChoice::Named(name) => voters().any(|offer| offer.digest_of(name) == Some(digest)),
    };
    let rank = |digest: &&Digest| {
        let kernels = voters().flat_map(|offer| &offer.kernels).filter(|kernel| kernel.digest == **digest);
        let first = kernels.min_by_key(|kernel| place(&kernel.name))?;
        let users = voters().filter(|offer| offer.digest_of(&offer.in_use) == Some(digest)).count();
        Some((pace(&first.name), Reverse(users), place(&first.name)))
    };
    let Some(digest) = shared.into_iter().filter(is_wanted).min_by_key(rank) else {
        return Err(Disagreement::NoneShared { kernel: wanted.clone(), offers: list(offers) });
    };
    let first = voters().next().expect("somebody shares it");
    let name = first.kernel_for(digest, wanted).expect("everybody shares it");
    Ok(Agreed { blas: format!("{} {name}", first.blas), digest: digest.clone() })
}

fn list(offers: &[Offer]) -> String {
    offers.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of kernels such as `Haswell=a`, the first of which is in use.
    fn offer(worker: &str, blas: &str, kernels: &[&str]) -> Offer {
        let kernel = |text: &&str| {
            let (name, digest) = text.split_once('=').unwrap();
            Kernel { name: name.into(), digest: Digest(digest.into()) }
        };
        let in_use = kernels.first().map_or(String::new(), |text| kernel(text).name);
        let (worker, blas) = (worker.to_owned(), blas.to_owned());
        Offer { worker, blas, in_use, kernels: kernels.iter().map(kernel).collect() }
    }

    fn wanted(name: &str) -> KernelChoice {
        name.parse().unwrap()
    }

    fn agreed(blas: &str, digest: &str) -> Agreed {
        Agreed { blas: blas.into(), digest: Digest(digest.into()) }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_fastest_kernel_that_all_share_is_taken() {
        let new = offer("a", "O 3", &["SkylakeX=x", "Haswell=h", "Sandybridge=s", "Prescott=p"]);
        let old = offer("b", "O 2", &["Sandybridge=s", "Haswell=h", "Prescott=p"]);
        let older = offer("c", "O 1", &["Sandybridge=s", "Haswell=other", "Prescott=p"]);
        let none = offer("d", "O 0", &[]);
        let choose = |offers: &[&Offer]| {
            agree(&offers.iter().copied().cloned().collect::<Vec<_>>(), None, &wanted("auto")).unwrap()
        };
        assert_eq!(choose(&[&new, &new]), agreed("O 3 SkylakeX", "x"));
        assert_eq!(choose(&[&new, &old]), agreed("O 3 Haswell", "h"));
        assert_eq!(choose(&[&old, &none, &new]), agreed("O 2 Haswell", "h"));
        assert_eq!(choose(&[&new, &old, &older]), agreed("O 3 Sandybridge", "s"));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn of_kernels_that_are_about_as_fast_the_one_in_use_is_taken() {
        let own = offer("a", "O 3", &["SkylakeX=x", "Cooperlake=c", "Haswell=h"]);
        let other = offer("b", "O 3", &["Cooperlake=c", "SkylakeX=x", "Haswell=h"]);
        let slow = offer("c", "O 3", &["Haswell=h", "Cooperlake=c", "SkylakeX=x"]);
        let choose = |offers: &[&Offer]| {
            agree(&offers.iter().copied().cloned().collect::<Vec<_>>(), None, &wanted("auto")).unwrap()
        };
        assert_eq!(choose(&[&own]), agreed("O 3 SkylakeX", "x"));
        assert_eq!(choose(&[&other, &own, &own]), agreed("O 3 SkylakeX", "x"));
        assert_eq!(choose(&[&own, &other]), agreed("O 3 Cooperlake", "c"));
        assert_eq!(choose(&[&slow]), agreed("O 3 Cooperlake", "c"));
    }

    #[test]
    fn who_has_the_bits_in_use_does_not_change() {
        let both = offer("a", "O 3", &["Zen=h", "Haswell=h", "Sandybridge=s"]);
        let digest = |text: &str| Digest(text.into());
        assert_eq!(both.kernel_for(&digest("h"), &wanted("auto")), Some("Zen"));
        assert_eq!(both.kernel_for(&digest("h"), &wanted("haswell")), Some("Haswell"));
        assert_eq!(both.kernel_for(&digest("s"), &wanted("haswell")), Some("Sandybridge"));
        assert_eq!(both.kernel_for(&digest("x"), &wanted("auto")), None);
    }

    #[test]
    fn a_kernel_that_is_asked_for_is_taken_or_refused() {
        let offers = [offer("a", "O 3", &["Haswell=h", "Core2=c"]), offer("b", "O 2", &["Haswell=h"])];
        assert_eq!(agree(&offers, None, &wanted("haswell")), Ok(agreed("O 3 Haswell", "h")));
        let error = agree(&offers, None, &wanted("Core2")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the workers have no BLAS kernel Core2 whose bits are the same on all: a has O 3 with Haswell, Core2; b \
             has O 2 with Haswell"
        );
    }

    #[test]
    fn without_a_common_kernel_all_that_there_is_is_named() {
        let offers = [offer("a", "O 3", &["Haswell=h"]), offer("b", "O 2", &["Haswell=i"])];
        let error = agree(&offers, None, &wanted("auto")).unwrap_err().to_string();
        assert!(error.ends_with(": a has O 3 with Haswell; b has O 2 with Haswell"), "{error}");
        let none = agree(&[offer("a", "O 3", &[])], None, &wanted("auto")).unwrap_err().to_string();
        assert!(none.ends_with(": a has O 3 with no kernel that passes its self-test"), "{none}");
    }

    #[test]
    fn a_run_keeps_its_bits_on_whatever_library_has_them() {
        let began = Began { blas: "O 3 Haswell".into(), digest: Some(Digest("h".into())) };
        let go_on = |offers: &[Offer], name: &str| agree(offers, Some(&began), &wanted(name));
        let other = offer("a", "O 2", &["Zen=h", "Haswell=i", "SkylakeX=x"]);
        assert_eq!(go_on(std::slice::from_ref(&other), "auto"), Ok(agreed("O 3 Haswell", "h")));
        assert_eq!(go_on(std::slice::from_ref(&other), "Zen"), Ok(agreed("O 3 Haswell", "h")));
        for name in ["SkylakeX", "Haswell", "Abacus"] {
            let error = go_on(std::slice::from_ref(&other), name).unwrap_err();
            assert!(matches!(error, Disagreement::OtherKernel { .. }), "{error}");
        }
        let error = go_on(&[offer("a", "O 3", &["Haswell=i"])], "auto").unwrap_err().to_string();
        assert!(error.contains("O 3 Haswell, and no worker has it: a has O 3 with Haswell"), "{error}");
    }

    #[test]
    fn a_run_of_an_earlier_version_goes_on_with_the_kernel_of_that_name() {
        let began = Began { blas: "O 3 Haswell".into(), digest: None };
        let offers = [offer("a", "O 2", &["Haswell=i"]), offer("b", "O 3", &["SkylakeX=x", "Haswell=h"])];
        assert_eq!(agree(&offers, Some(&began), &wanted("auto")), Ok(agreed("O 3 Haswell", "h")));
        let gone = agree(&offers[..1], Some(&began), &wanted("auto")).unwrap_err();
        assert!(matches!(gone, Disagreement::Gone { .. }), "{gone}");
    }
}
