use super::*;

pub(crate) const GOOD: &str = r#"
[listen]
public = "127.0.0.1:1"
health = "127.0.0.1:2"
[web]
cert = "web.crt"
key = "web.key"
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
[tokens]
issuer = "https://issuer.example"
audience = "chatd"
keys = { file = "jwks.json" }
[vaults]
eu-west = "127.0.0.1:3"
"#;

#[test]
fn a_good_file_is_read() {
    let c = Config::parse(GOOD, Path::new("/srv")).unwrap();
    assert_eq!(c.web.cert, Path::new("/srv/web.crt"));
    assert!(matches!(c.tokens.keys, KeySource::File(p) if p == Path::new("/srv/jwks.json")));
}

#[test]
fn every_bad_field_is_named() {
    let cases = [
        ("public = \"127.0.0.1:1\"", "public = \"x\"", "public"),
        ("audience = \"chatd\"", "audience = \"\"", "tokens"),
        ("eu-west = \"127.0.0.1:3\"", "", "vaults"),
        ("eu-west = \"127.0.0.1:3\"", "eu-west = \"127.0.0.1\"", "vaults"),
        ("ca = \"ca.crt\"", "cas = \"ca.crt\"", "cas"),
        ("[vaults]", "[limits]\nidle_seconds = 0\n[vaults]", "limits"),
        ("[vaults]", "[limits]\naddress_burst = 0\n[vaults]", "limits"),
        ("health = \"127.0.0.1:2\"", "health = \"127.0.0.1:1\"", "listen"),
        ("[web]", "trusted_proxies = [\"10.0.0.1\"]\n[web]", "trusted_proxies"),
        ("[web]", "trusted_proxies = [\"10.0.0.0/8\", \"::/0\"]\n[web]", "trusted_proxies"),
        ("[web]", "proxy_protocol = true\n[web]", "proxy_protocol"),
        ("eu-west = \"127.0.0.1:3\"", "eu-west = \"127.0.0.1:3\"\nus-east = \"127.0.0.1:3\"", "vaults"),
    ];
    for (from, to, name) in cases {
        let e = Config::parse(&GOOD.replace(from, to), Path::new("/")).unwrap_err().to_string();
        assert!(e.contains(name), "{name}: {e}");
    }
}

/// Each pod template contains a hash of this text, so the written text must not change.
#[test]
fn defaults_are_not_written() {
    let c = Config::parse(GOOD, Path::new("/srv")).unwrap();
    let text = toml::to_string(&c).unwrap();
    assert!(!text.contains("postgres") && !text.contains("idle_seconds") && !text.contains("prox"), "{text}");
    assert_eq!(Config::parse(&text, Path::new("/elsewhere")).unwrap(), c);
}
