//! Runs one kernel of a PTX file on the CPU.
fn main() -> std::process::ExitCode {
    jet_emu::cli::main()
}
