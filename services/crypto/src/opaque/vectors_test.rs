//! S01: in the RFC's configuration the library gives RFC 9807's vectors, byte for byte. Our suite has frozen vectors of its own.

use bkv_core::id::{AccountId, Generation};
use opaque_ke::key_exchange::tripledh::TripleDh;
use opaque_ke::ksf::Identity;
use opaque_ke::{
    CipherSuite, ClientLogin, ClientLoginFinishParameters, ClientRegistration,
    ClientRegistrationFinishParameters, Identifiers, Ristretto255, ServerLogin, ServerLoginParameters,
    ServerRegistration, ServerSetup,
};
use rand::{CryptoRng, Error, RngCore};
use serde_json::{Value, json};
use sha2::Sha512;

use super::opaque_test::{CX, SEED, Z, rng};
use super::{Server, Stretched, login_start, register_start};

/// RFC 9807, appendix C.1.1 and C.1.2.
struct Rfc;

impl CipherSuite for Rfc {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, Sha512>;
    type Ksf = Identity;
}

/// A source of randomness that returns the vectors' values in order. It panics if the library draws more bytes than there are or leaves
/// some over.
struct Tape(Vec<u8>);

impl Tape {
    fn of(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl RngCore for Tape {
    fn next_u32(&mut self) -> u32 {
        unreachable!("the library draws bytes only")
    }
    fn next_u64(&mut self) -> u64 {
        unreachable!("the library draws bytes only")
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Tape {}

impl Drop for Tape {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || self.0.is_empty(),
            "{} bytes of the tape were not drawn",
            self.0.len()
        );
    }
}

#[test]
fn s01_rfc9807_appendix_c_1() {
    let file: Value =
        serde_json::from_str(include_str!("../../tests/vectors/rfc9807_opaque_3dh_ristretto255.json"))
            .unwrap();
    let common = |name: &str| hex::decode(file["common"][name].as_str().unwrap()).unwrap();
    let zeros = [0; 32]; // a scalar is drawn as 64 bytes, reduced: the vector's scalar and zeros
    let (password, context, id) = (common("password"), common("context"), common("credential_identifier"));
    let unused = common("server_public_key"); // the library's key for accounts that do not exist
    let setup = [common("oprf_seed"), common("server_private_key"), unused].concat();
    let setup = ServerSetup::<Rfc>::deserialize(&setup).unwrap();
    assert_eq!(setup.keypair().public().serialize().to_vec(), common("server_public_key"));

    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    for v in vectors {
        let name = v["name"].as_str().unwrap();
        let field = |f: &str| v[f].as_str().map(|h| hex::decode(h).unwrap());
        let (client, server) = (field("client_identity"), field("server_identity"));
        let identifiers = Identifiers { client: client.as_deref(), server: server.as_deref() };

        let mut tape = Tape::of(&[&common("blind_registration"), &zeros]);
        let start = ClientRegistration::<Rfc>::start(&mut tape, &password).unwrap();
        assert_eq!(start.message.serialize().to_vec(), common("registration_request"), "{name}");
        let response = ServerRegistration::start(&setup, start.message, &id).unwrap().message;
        assert_eq!(response.serialize().to_vec(), common("registration_response"), "{name}");
        let mut tape = Tape::of(&[&common("envelope_nonce")]);
        let parameters = ClientRegistrationFinishParameters::new(identifiers, None);
        let registered = start.state.finish(&mut tape, &password, response, parameters).unwrap();
        assert_eq!(registered.message.serialize().to_vec(), field("registration_upload").unwrap(), "{name}");
        assert_eq!(registered.export_key.to_vec(), common("export_key"), "{name}");

        let mut tape = Tape::of(&[
            &common("blind_login"),
            &zeros,
            &common("client_keyshare_seed"),
            &common("client_nonce"),
        ]);
        let login = ClientLogin::<Rfc>::start(&mut tape, &password).unwrap();
        assert_eq!(login.message.serialize().to_vec(), common("ke1"), "{name}");
        // The library always draws the masking key of an account that does not exist, 64 bytes, and throws it away here.
        let mut tape = Tape::of(&[
            &zeros,
            &zeros,
            &common("masking_nonce"),
            &common("server_keyshare_seed"),
            &common("server_nonce"),
        ]);
        let record = ServerRegistration::finish(registered.message);
        let parameters = || ServerLoginParameters { context: Some(&context), identifiers };
        let answer =
            ServerLogin::start(&mut tape, &setup, Some(record), login.message, &id, parameters()).unwrap();
        assert_eq!(answer.message.serialize().to_vec(), field("ke2").unwrap(), "{name}");
        let parameters3 = ClientLoginFinishParameters::new(Some(&context), identifiers, None);
        let done = login.state.finish(&mut Tape::of(&[]), &password, answer.message, parameters3).unwrap();
        assert_eq!(done.message.serialize().to_vec(), field("ke3").unwrap(), "{name}");
        assert_eq!(done.session_key.to_vec(), field("session_key").unwrap(), "{name}");
        assert_eq!(done.export_key.to_vec(), common("export_key"), "{name}");
        let finished = answer.state.finish(done.message, parameters()).unwrap();
        assert_eq!(finished.session_key.to_vec(), field("session_key").unwrap(), "{name}");
    }
}

/// A change of the suite, a label, an order or a length fails here. After a deliberate change, copy the printed values.
#[test]
fn s01_our_suite_is_frozen() {
    let password = Stretched::new([0x11; 64]);
    let right = password.right(&AccountId([0xac; 32]), Generation(3));
    let (mut rng, server) = (rng(807), Server::new(&Z).unwrap());
    let (state, request) = register_start(&password, &mut rng).unwrap();
    let response = server.register(&request).unwrap();
    let registered = state.finish(&password, &response, &mut rng).unwrap();
    let (state, ke1) = login_start(&password, &mut rng).unwrap();
    let (leader, ke2) = server.answer(&SEED, &registered.upload, &CX, &ke1).unwrap();
    let done = state.finish(&password, &ke2, &CX, &mut rng).unwrap();
    assert_eq!(leader.finish(&done.ke3, &CX).unwrap(), done.session_key);
    let ours = json!({
        "stretched": hex::encode(password.expose()), "right": hex::encode(right.0), "z": hex::encode(Z), "seed": hex::encode(SEED),
        "context": hex::encode(CX), "request": hex::encode(&request), "response": hex::encode(&response),
        "upload": hex::encode(&registered.upload), "ke1": hex::encode(&ke1), "ke2": hex::encode(&ke2), "ke3": hex::encode(&done.ke3),
        "export_key": hex::encode(done.export_key.expose()), "session_key": hex::encode(done.session_key.expose()),
    });
    let frozen: Value = serde_json::from_str(include_str!("../../tests/vectors/bkv_opaque_1.json")).unwrap();
    assert!(ours == frozen, "now: {}", serde_json::to_string_pretty(&ours).unwrap());
}
