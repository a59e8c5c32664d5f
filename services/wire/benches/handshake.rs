//! One handshake of the inner channel: `cargo bench -p bkv-wire`.
#![allow(missing_docs, clippy::unwrap_used)] // a measurement: it may stop where it stands

use bkv_fixtures::{SoftwareIdentity, measure};
use bkv_wire::channel::{Channel, ClientSettings, ServerSettings};

fn main() {
    let vault = SoftwareIdentity::generate();
    let server = ServerSettings::new(vault.tls).unwrap();
    let client = ClientSettings::new(vec![vault.spki]).unwrap();
    measure("channel: handshake and a message, both ends", || {
        let (mut c, mut s) = (Channel::client(&client).unwrap(), Channel::server(&server).unwrap());
        c.send(&[7; 200]).unwrap();
        while s.next_message().unwrap().is_none() {
            s.feed(&c.take_outgoing()).unwrap();
            c.feed(&s.take_outgoing()).unwrap();
        }
    });
}
