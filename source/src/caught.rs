//! What a library asserts of a file and does not check: that it is not so is an answer like others, and no word of a panic reaches
//! the terminal.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread would be caught here.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `ask` answers; nothing where it panics, of which nothing is said.
pub fn caught<T>(ask: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let say = take_hook();
        set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                say(panic);
            }
        }));
    });
    let around = CAUGHT.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(ask));
    CAUGHT.set(around);
    answer.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_answers_nothing() {
        assert_eq!(caught(|| 5), Some(5));
        assert_eq!(caught(|| -> u8 { panic!("as a library does") }), None);
        assert_eq!(caught(|| caught(|| panic!("within")).is_none()), Some(true));
    }
}
