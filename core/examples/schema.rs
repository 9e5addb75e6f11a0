//! Prints a JSON Schema: `cargo run -p clode-core --example schema [-- client]`.

use std::io::Write as _;

use clode_core::config::schema;

fn main() -> std::io::Result<()> {
    let schema = match std::env::args().nth(1).as_deref() {
        Some("client") => schema::client(),
        _ => schema::providers(),
    };
    std::io::stdout().write_all(schema::text(&schema).as_bytes())
}
