//! The runtime in real namespaces, with a stand-in for the control plane and the agent: this very
//! program, which the runtime starts again as `internal …`, `control …` and `agent …`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, which the lint does not see for want of the usual harness"
)]

mod mesh {
    pub(crate) mod cases;
    pub(crate) mod roles;
    pub(crate) mod running;
}

use std::process::ExitCode;
use std::time::Instant;

use mesh::{cases, roles};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = roles::dispatch(&arguments) {
        return ExitCode::from(code);
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in cases::ALL {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let impossible = cases::cannot_run();
    let mut failed = 0;
    for (name, case) in cases::ALL {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        // The lines are libtest's, by which `cargo xtask test` counts.
        if let Some(reason) = &impossible {
            println!("test {name} ... ignored, {reason}");
            continue;
        }
        let began = Instant::now();
        let result = std::panic::catch_unwind(case);
        println!("{name} took {:.1?}", began.elapsed());
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(result.is_err());
    }
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
