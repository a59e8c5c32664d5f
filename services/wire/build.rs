//! Protobuf code from `proto/`, by a compiler written in Rust: nothing to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["inner", "outer", "documents", "peer"].map(|f| format!("proto/{f}.proto"));
    let set = protox::compile(&files, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    // Their Debug is written by hand, because it must not show the token.
    config.skip_debug([
        "bkv.inner.v1.Open",
        "bkv.peer.v1.Evaluate",
        "bkv.peer.v1.Attest",
        "bkv.peer.v1.Acknowledge",
        "bkv.peer.v1.Permit",
    ]);
    config.compile_fds(set)?;
    for f in files {
        println!("cargo:rerun-if-changed={f}");
    }
    Ok(())
}
