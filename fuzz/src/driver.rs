//! Hands libFuzzer one target. Its own entry point is in a library written in C++, which calls back for each input.

use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;

// Brings libFuzzer itself.
use libfuzzer_sys as _;

/// Name, what is checked of any bytes, and where examples are.
type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// The tables of all crates.
const CRATES: [&[Target]; 5] = [
    mk_agent::fuzz::TARGETS,
    mk_server::fuzz::TARGETS,
    mkiso::fuzz::TARGETS,
    tce_mirror::fuzz::TARGETS,
    wire::fuzz::TARGETS,
];

/// What libFuzzer calls with each input.
static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

unsafe extern "C" {
    /// libFuzzer's driver: reads the command line, calls back, and gives the exit code.
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        callback: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

extern "C" fn one(data: *const u8, size: usize) -> c_int {
    // SAFETY: libFuzzer gives the start and the length of an input that it keeps until we return; of none the start may be null.
    let bytes = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, size) } };
    if let Some(target) = TARGET.get() {
        target(bytes);
    }
    0
}

/// What the library would call where it has the program's entry point; it is never called here.
#[unsafe(no_mangle)]
extern "Rust" fn rust_fuzzer_test_input(_: &[u8]) -> i32 {
    0
}

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut targets = CRATES.into_iter().flatten();
    if arguments.get(1).is_some_and(|word| word == "list") {
        targets.for_each(|(name, _, examples)| println!("{name} {}", examples.join(" ")));
        return;
    }
    // Not on the command line, with which libFuzzer starts this program again when it merges.
    let name = std::env::var("MK_FUZZ_TARGET").unwrap_or_default();
    let Some((_, target, _)) = targets.find(|(known, ..)| *known == name) else {
        eprintln!("MK_FUZZ_TARGET={name} names no target; `mk-fuzz list` names all");
        std::process::exit(2);
    };
    TARGET.get_or_init(|| *target);
    // A panic has to reach libFuzzer before it is caught, by whom ever: that writes down the input.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        std::process::abort();
    }));
    let arguments: Vec<CString> = arguments.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    let mut pointers: Vec<*mut c_char> = arguments.iter().map(|word| word.as_ptr().cast_mut()).collect();
    let mut count = c_int::try_from(pointers.len()).unwrap_or_default();
    pointers.push(std::ptr::null_mut());
    let mut words = pointers.as_mut_ptr();
    // SAFETY: count and words are those of a C program's command line and outlive the call.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut words, one) };
    std::process::exit(code);
}
