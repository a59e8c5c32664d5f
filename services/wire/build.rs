//! Protobuf code from `proto/`, by a compiler written in Rust: nothing to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["inner", "outer", "documents", "peer"].map(|f| format!("proto/{f}.proto"));
    let set = protox::compile(&files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(set)?;
    for f in files {
        println!("cargo:rerun-if-changed={f}");
    }
    Ok(())
}
