//! The binary `jet-tune`; all of it is in the library of this crate.

fn main() -> std::process::ExitCode {
    jet_cli::jet_tune::main()
}
