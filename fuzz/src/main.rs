//! `MK_FUZZ_TARGET=NAME mk-fuzz [FOLDER…|FILE] [-OPTION=VALUE…]`: libFuzzer over one of the crates' targets; `mk-fuzz list` names
//! them, each with the places of its examples. `cargo xtask fuzz` builds it with instrumented code and runs it.
//! Exit codes are libFuzzer's: 0 nothing found, 77 a panic, 70 too slow, 71 too much memory.

#[cfg(fuzzing)]
mod driver;

fn main() {
    #[cfg(fuzzing)]
    driver::main();
    #[cfg(not(fuzzing))]
    {
        eprintln!("mk-fuzz is of use only where all code is instrumented; run: cargo xtask fuzz");
        std::process::exit(2);
    }
}
