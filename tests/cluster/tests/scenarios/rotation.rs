//! S34, scenario 14: the authority and every leaf are replaced while people recover. No pod restarts, no recovery fails, and at the end every port refuses a
//! stolen leaf of the old authority. The scenario ages the Secret in place of waiting for years: it makes the first authority one that expires soon, and
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

const AUTHORITY: &str = "demo-ca";
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
    let first = field(testbed, AUTHORITY, "tls.crt");

    let before = reloads(testbed);
    let aged = aged(&field(testbed, AUTHORITY, "tls.key"));
    edit(testbed, &json!({ "tls.crt": STANDARD.encode(&aged) }));
    let mut specs = Specs::default();
    specs.until(testbed, "the next authority is trusted everywhere", |testbed| {
        let next = maybe(testbed, AUTHORITY, "next.crt")?;
        LEAVES.iter().all(|leaf| field(testbed, leaf, "ca.crt").contains(&next)).then_some(())
    });
    let next = field(testbed, AUTHORITY, "next.crt");
    specs.until(testbed, "the overlap counts", |testbed| maybe(testbed, AUTHORITY, "since").map(drop));
    // The ten minutes of the overlap give this time. The operator wrote each ca.crt once since `before`, with the next authority.
    testbed.cluster.until("every program trusts the next authority", MOUNTED, || {
        let now = reloads(testbed);
        let late = before.iter().find(|(pod, count)| now.get(*pod).is_none_or(|n| n <= *count));
        late.map_or(Ok(()), |(pod, _)| Err(format!("{pod} has not read its files again")))
    });
    testbed.people.trust(&testbed.cluster, (PEOPLE, "demo"));

    edit(testbed, &json!({ "since": STANDARD.encode("1") }));
    specs.until(testbed, "the next authority signs", |testbed| {
        (field(testbed, AUTHORITY, "tls.crt") == next).then_some(())
    });
    testbed.cluster.until("every program shows its new leaf", Duration::from_mins(1), || shown(testbed));
    specs.until(testbed, "every leaf of the old authority is replaced", |testbed| {
        maybe(testbed, AUTHORITY, "since").map(drop)
    });
    edit(testbed, &json!({ "since": STANDARD.encode("1") }));
    specs.until(testbed, "the old authority is trusted no more", |testbed| {
        maybe(testbed, AUTHORITY, "old.crt").is_none().then_some(())
    });
    for leaf in LEAVES {
        let trusted = field(testbed, leaf, "ca.crt");
        assert!(
            trusted == next && trusted != first,
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
        "authority and {} leaves replaced; {recoveries} recoveries, the longest {:.1} s",
        LEAVES.len(),
        longest.as_secs_f32()
    )
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

fn edit(testbed: &Testbed, data: &Value) {
    patch(testbed, "secret", AUTHORITY, &json!({ "data": data }));
}

fn patch(testbed: &Testbed, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    testbed.cluster.kubectl(&["-n", PEOPLE, "patch", kind, name, "--type=merge", "-p", &patch]).good();
}

/// The same authority under the same key, made two years ago and valid for two more months, so that its successor is due.
fn aged(key: &str) -> String {
    let key = rcgen::KeyPair::from_pem(key).expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    let now = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    params.not_before = now - Duration::from_hours(24 * 730);
    params.not_after = now + Duration::from_hours(24 * 60);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "demo role CA");
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
