use ed25519_dalek::{Signer, SigningKey};

use super::{acceptable, verify};

fn small_order() -> Vec<[u8; 32]> {
    curve25519_dalek::constants::EIGHT_TORSION.iter().map(|p| p.compress().to_bytes()).collect()
}

#[test]
fn takes_a_good_signature_and_no_flipped_bit() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let (pk, sig) = (key.verifying_key().to_bytes(), key.sign(b"message").to_bytes());
    assert!(verify(&pk, b"message", &sig) && acceptable(&pk));
    for bit in 0..512 {
        let mut bad = sig;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&pk, b"message", &bad), "bit {bit} of the signature");
    }
    for bit in 0..256 {
        let mut bad = pk;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&bad, b"message", &sig), "bit {bit} of the key");
    }
}

/// S02: with A and R of small order and S = 0, a lax check accepts any message.
#[test]
fn s02_small_order_keys_are_refused() {
    for a in small_order() {
        assert!(!acceptable(&a));
        for r in small_order() {
            let mut sig = [0; 64];
            sig[..32].copy_from_slice(&r);
            assert!(!verify(&a, b"any", &sig));
        }
    }
}

/// S02: y ≥ p, of which there are 19 encodings with either sign.
#[test]
fn s02_non_canonical_keys_are_refused() {
    for low in 0xed..=0xffu8 {
        for high in [0x7f, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, high);
            assert!(!acceptable(&key) && !verify(&key, b"", &[0; 64]), "{low:x} {high:x}");
        }
    }
}

/// S + ℓ verifies under the equation but is not canonical.
#[test]
fn s02_malleated_signatures_are_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = SigningKey::from_bytes(&[9; 32]);
    let mut sig = key.sign(b"m").to_bytes();
    let mut carry = 0u16;
    for (s, l) in sig[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        (*s, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert!(!verify(&key.verifying_key().to_bytes(), b"m", &sig));
}
