//! What the scenarios start besides shells.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;

use clode_core::process::{Confinement, Spawner, harden_self};

use crate::world::{shell, spawner};

/// Starts a script through the shim, says so, and waits to be killed.
pub(crate) fn server_to_be_killed(script: &str) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut child = spawner()
            .spawn(shell(script, Confinement::Supervised))
            .await
            .unwrap();
        println!("ready");
        let _ = child.wait().await;
    });
    ExitCode::FAILURE
}

pub(crate) fn try_the_network(port: u16) -> ExitCode {
    let word = |worked: bool| if worked { "yes" } else { "no" };
    // Nobody listens there, so without a sandbox the answer is "refused" and not "forbidden".
    let other = TcpStream::connect(("127.0.0.1", 1)).map_or_else(
        |error| error.kind() == std::io::ErrorKind::ConnectionRefused,
        |_| true,
    );
    println!(
        "connect: {}, other: {}, listen: {}, datagram: {}, unix: {}, pair: {}",
        word(TcpStream::connect(("127.0.0.1", port)).is_ok()),
        word(other),
        word(TcpListener::bind(("127.0.0.1", 0)).is_ok()),
        word(UdpSocket::bind(("127.0.0.1", 0)).is_ok()),
        word(std::os::unix::net::UnixDatagram::unbound().is_ok()),
        word(std::os::unix::net::UnixStream::pair().is_ok()),
    );
    ExitCode::SUCCESS
}

/// Says who it is, waits for a word, then says the key.
pub(crate) fn tell_the_key() -> ExitCode {
    println!("{}", std::process::id());
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).unwrap();
    let descriptor = std::env::var("KEY_DESCRIPTOR").unwrap();
    let mut key = String::new();
    std::fs::File::open(format!("/proc/self/fd/{descriptor}"))
        .unwrap()
        .read_to_string(&mut key)
        .unwrap();
    println!("{key}");
    ExitCode::SUCCESS
}

/// What the server does at its start; then its file is replaced by nothing, as an update would.
pub(crate) fn harden_and_probe(file: &str) -> ExitCode {
    harden_self();
    std::fs::remove_file(file).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{}",
        runtime.block_on(Spawner::from_own_executable(Vec::new()).unwrap().probe())
    );
    ExitCode::SUCCESS
}
