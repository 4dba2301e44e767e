//! The `crtmpserver` program; everything is in the library.
fn main() -> std::process::ExitCode {
    crtmpserver::cli::main()
}
