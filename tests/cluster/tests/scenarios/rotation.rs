//! S34, scenario 14: both authorities and every leaf are replaced while people recover. No pod restarts, no recovery fails, and at the end every port refuses
//! a stolen leaf of the old authority. The scenario ages the Secrets in place of waiting for years: it makes each first authority one that expires soon, and
//! moves the start of the overlap into the past once every program has the new authority.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::CommandOutput;
use serde_json::{Value, json};

use super::hardened::{ADMIN, knock};
use super::resource::PEOPLE;
use super::testbed::{MADE, Testbed};

/// The Secrets of the authorities, with their common names.
const AUTHORITIES: [(&str, &str); 2] = [(ROLES, "demo role CA"), (WEB, "demo web CA")];
const ROLES: &str = "demo-ca";
const WEB: &str = "demo-chatd-web-ca";
const LEAVES: [&str; 7] = [
    "demo-admin",
    "demo-chatd-tls",
    "demo-chatd-web",
    "demo-postgres-tls",
    "demo-eu-west-tls",
    "demo-us-east-tls",
    "demo-ap-south-tls",
];
/// Deadline for a changed Secret to be in every pod and read by its program: the kubelet syncs every 10 s here, programs read every 5 s.
const MOUNTED: Duration = Duration::from_mins(2);
/// The operator looks at certificates when the spec changes, and every two minutes.
const LOOKED: Duration = Duration::from_secs(30);

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let (since, pods) = (Instant::now(), starts(testbed));
    let stolen = testbed.cluster.get(PEOPLE, "secret", "demo-admin");
    let first = AUTHORITIES.map(|(secret, _)| field(testbed, secret, "tls.crt"));

    let before = reloads(testbed);
    for (secret, name) in AUTHORITIES {
        let aged = aged(&field(testbed, secret, "tls.key"), name);
        edit(testbed, secret, &json!({ "tls.crt": STANDARD.encode(&aged) }));
    }
    let mut specs = Specs::default();
    specs.until(testbed, "the next authorities are trusted everywhere", |testbed| {
        let trusts = |leaf: &str| {
            let next = maybe(testbed, authority_of(leaf), "next.crt")?;
            Some(field(testbed, leaf, "ca.crt").contains(&next))
        };
        LEAVES.iter().all(|leaf| trusts(leaf) == Some(true)).then_some(())
    });
    let next = AUTHORITIES.map(|(secret, _)| field(testbed, secret, "next.crt"));
    let counts =
        |testbed: &Testbed| AUTHORITIES.iter().all(|(secret, _)| maybe(testbed, secret, "since").is_some());
    specs.until(testbed, "the overlaps count", |testbed| counts(testbed).then_some(()));
    // The ten minutes of the overlap give this time. The operator wrote each ca.crt once since `before`, with the next authority.
    testbed.cluster.until("every program trusts the next authority", MOUNTED, || {
        let now = reloads(testbed);
        let late = before.iter().find(|(pod, count)| now.get(*pod).is_none_or(|n| n <= *count));
        late.map_or(Ok(()), |(pod, _)| Err(format!("{pod} has not read its files again")))
    });
    testbed.people.trust(&testbed.cluster, (PEOPLE, "demo"));

    let overlap_is_over = |testbed: &Testbed| {
        for (secret, _) in AUTHORITIES {
            edit(testbed, secret, &json!({ "since": STANDARD.encode("1") }));
        }
    };
    overlap_is_over(testbed);
    specs.until(testbed, "the next authorities sign", |testbed| {
        (AUTHORITIES.map(|(secret, _)| field(testbed, secret, "tls.crt")) == next).then_some(())
    });
    testbed.cluster.until("every program shows its new leaf", Duration::from_mins(1), || shown(testbed));
    specs.until(testbed, "every leaf of the old authorities is replaced", |testbed| {
        counts(testbed).then_some(())
    });
    overlap_is_over(testbed);
    specs.until(testbed, "the old authorities are trusted no more", |testbed| {
        AUTHORITIES.iter().all(|(secret, _)| maybe(testbed, secret, "old.crt").is_none()).then_some(())
    });
    for leaf in LEAVES {
        let trusted = field(testbed, leaf, "ca.crt");
        let signs = field(testbed, authority_of(leaf), "tls.crt");
        assert!(
            trusted == signs && next.contains(&signs) && !first.contains(&signs),
            "the ca.crt of {leaf} holds more than the new authority"
        );
    }
    let forward = testbed.cluster.forward(PEOPLE, "pod/demo-us-east-0", ADMIN);
    testbed.cluster.until("a leaf of the retired authority opens nothing", Duration::from_mins(2), || {
        let knocked = knock(testbed, &forward.address.to_string(), Some(&stolen), &["-tls1_3"]);
        if knocked.out.contains("200 OK") { Err("the port accepts it".into()) } else { Ok(()) }
    });
    testbed.people.trust(&testbed.cluster, (PEOPLE, "demo"));
    let admin = testbed.cluster.get(PEOPLE, "secret", "demo-admin");
    let knocked = knock(testbed, &forward.address.to_string(), Some(&admin), &["-tls1_3"]);
    assert!(knocked.out.contains("200 OK"), "the port refuses the new admin certificate: {knocked:?}");

    testbed.heals(Duration::from_mins(1));
    assert_eq!(starts(testbed), pods, "a pod was replaced, or a program started anew");
    let (recoveries, longest) = testbed.people.went_on(&testbed.cluster, since, 20);
    format!(
        "both authorities and {} leaves replaced; {recoveries} recoveries, the longest {:.1} s",
        LEAVES.len(),
        longest.as_secs_f32()
    )
}

fn authority_of(leaf: &str) -> &'static str {
    if leaf == "demo-chatd-web" { WEB } else { ROLES }
}

/// Changes of the spec that change nothing else: each makes the operator look at certificates.
#[derive(Default)]
struct Specs(u32);

impl Specs {
    fn until(&mut self, testbed: &Testbed, what: &str, look: impl Fn(&Testbed) -> Option<()>) {
        for _ in 0..4 {
            self.0 += 1;
            let validity = format!("{}h", 720 - self.0);
            let spec = json!({ "spec": { "tls": { "builtin": { "leafValidity": validity } } } });
            patch(testbed, "bkv", "demo", &spec);
            let begun = Instant::now();
            while begun.elapsed() < LOOKED {
                if look(testbed).is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        panic!("{what}: not after four looks of the operator");
    }
}

/// Pod of a vault or of ChatD → how often its program has logged that it uses new files of its role certificate.
fn reloads(testbed: &Testbed) -> BTreeMap<String, usize> {
    let count = |pod: &Value| {
        let component = pod["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or_default();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        ["vault", "chatd"].contains(&component).then(|| {
            let log = testbed.cluster.kubectl(&["-n", PEOPLE, "logs", &name, "--all-containers"]).good();
            let reloaded = |line: &&str| {
                line.contains("certificate files changed and are in use") && line.contains("/etc/bkv-tls/")
            };
            (name, log.lines().filter(reloaded).count())
        })
    };
    testbed.cluster.list(PEOPLE, "pods", MADE).iter().filter_map(count).collect()
}

/// Pod → its uid, and how often its containers have started.
fn starts(testbed: &Testbed) -> BTreeMap<String, (String, u64)> {
    let count = |pod: &Value| {
        let all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        all.map(|c| c["restartCount"].as_u64().unwrap()).sum()
    };
    let of = |pod: &Value| {
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        (text(&pod["metadata"]["name"]), (text(&pod["metadata"]["uid"]), count(pod)))
    };
    testbed.cluster.list(PEOPLE, "pods", MADE).iter().map(of).collect()
}

fn maybe(testbed: &Testbed, secret: &str, key: &str) -> Option<String> {
    let held = testbed.cluster.get(PEOPLE, "secret", secret);
    let text = held["data"][key].as_str()?;
    Some(String::from_utf8(STANDARD.decode(text).expect("base64")).expect("PEM"))
}

fn field(testbed: &Testbed, secret: &str, key: &str) -> String {
    maybe(testbed, secret, key).unwrap_or_else(|| panic!("Secret {secret} has no {key}"))
}

fn edit(testbed: &Testbed, secret: &str, data: &Value) {
    patch(testbed, "secret", secret, &json!({ "data": data }));
}

fn patch(testbed: &Testbed, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    testbed.cluster.kubectl(&["-n", PEOPLE, "patch", kind, name, "--type=merge", "-p", &patch]).good();
}

/// The same authority under the same key, made two years ago and valid for two more months, so that its successor is due.
fn aged(key: &str, name: &str) -> String {
    let key = rcgen::KeyPair::from_pem(key).expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    let now = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    params.not_before = now - Duration::from_hours(24 * 730);
    params.not_after = now + Duration::from_hours(24 * 60);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.self_signed(&key).expect("signed").pem()
}

/// Each program presents the certificate that is in its Secret now.
fn shown(testbed: &Testbed) -> Result<(), String> {
    let pods = testbed.cluster.list(PEOPLE, "pods", MADE);
    for pod in &pods {
        let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default();
        let (port, options, secret) = match label("app.kubernetes.io/component") {
            "chatd" => (8443, "", "demo-chatd-web".to_owned()),
            "postgres" => (5432, "-starttls postgres", "demo-postgres-tls".to_owned()),
            "vault" => (ADMIN, "", format!("demo-{}-tls", label("bkv.dev/region"))),
            other => return Err(format!("a pod of {other:?}")),
        };
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let forward = testbed.cluster.forward(PEOPLE, &format!("pod/{name}"), port);
        let address = forward.address.to_string();
        let mut command = Command::new("timeout");
        command.args(["5", "openssl", "s_client", "-connect", &address]).args(options.split_whitespace());
        let answer = CommandOutput::of(&mut command, Some(""));
        let wanted = field(testbed, &secret, "tls.crt");
        let leaf = wanted.split_inclusive("-----END CERTIFICATE-----").next().unwrap_or_default();
        if !answer.out.contains(leaf.trim()) {
            return Err(format!("{name} does not present the certificate of {secret}"));
        }
    }
    if pods.len() >= LEAVES.len() - 1 { Ok(()) } else { Err(format!("{} pods", pods.len())) }
}
