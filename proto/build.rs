//! Generates the code of `strata/worker.proto` with a protobuf compiler written in Rust: no protoc to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=strata/worker.proto");
    let descriptors = protox::compile(["strata/worker.proto"], ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
