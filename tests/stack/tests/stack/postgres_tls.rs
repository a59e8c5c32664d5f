//! ChatD's database as in a cluster: over TLS that is verified, with a password and an authority in mounted Secrets that change while it runs.

use std::time::Duration;

use bkv_mtls::issue::WebCa;
use bkv_stack_tests::chatd::{Chatd, section};
use bkv_stack_tests::postgres::{Mounted, TlsPostgres};
use bkv_stack_tests::program::skipped;
use bkv_stack_tests::{Fleet, RIGHT, wait};
use toml::Table;

const UP: &str = "bkv_chatd_postgres_up";
const SOON: Duration = Duration::from_secs(40);

fn database(url_file: String) -> impl FnOnce(&mut Table) {
    move |table| {
        section(table, "postgres").insert("url_file".into(), url_file.into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_over_verified_tls_whose_password_rotates() {
    let (ca, foreign) = (WebCa::generate().unwrap(), WebCa::generate().unwrap());
    let Some(postgres) = TlsPostgres::start(&ca, "first-secret").await else {
        return skipped("a database over TLS", "apt-get install postgresql");
    };
    let fleet = Fleet::with(&["--no-postgres"]);
    let url = |host: &str, password: &str, authority: &str| {
        let port = postgres.port;
        format!("postgres://bkv:{password}@{host}:{port}/bkv?sslmode=verify-full&sslrootcert={authority}\n")
    };
    let mount = |name: &str, host: &str, authority: &WebCa| {
        let at = fleet.path(name);
        let own = at.join("ca.crt").to_str().unwrap().to_owned();
        let url = url(host, "first-secret", &own);
        Mounted::new(&at, &[("url", &url), ("ca.crt", authority.certificate_pem())])
    };
    // With a certificate of another authority or for another name ChatD never connects to the database. It is ready all the same.
    let bad = [mount("foreign", "localhost", &foreign), mount("misnamed", "127.0.0.1", &ca)];
    let refused: Vec<Chatd> = bad
        .iter()
        .zip(["foreign", "misnamed"])
        .map(|(mounted, name)| Chatd::start(&fleet, name, database(mounted.path("url"))))
        .collect();
    let mounted = mount("good", "localhost", &ca);
    let chatd = Chatd::start(&fleet, "tls", database(mounted.path("url")));
    let alice = chatd.serves(fleet.registered("alice"));
    wait("the database", SOON, || chatd.metric(UP) == 1);

    // The password changes and every connection is cut: away until the Secret has the new one. Recoveries go on.
    postgres.admin("ALTER ROLE bkv PASSWORD 'second-secret'").await;
    postgres.cut().await;
    wait("the database to be away", SOON, || chatd.metric(UP) == 0);
    tokio::task::block_in_place(|| alice.recover("phone", RIGHT).expect(0));
    let authority = mounted.path("ca.crt");
    mounted.swap(&[("url", "not a url first-secret"), ("ca.crt", ca.certificate_pem())]);
    wait("a log line about the bad file", SOON, || chatd.log().contains("the last good one stays in use"));
    let good = url("localhost", "second-secret", &authority);
    mounted.swap(&[("url", &good), ("ca.crt", ca.certificate_pem())]);
    wait("the database again", SOON, || chatd.metric(UP) == 1);
    for chatd in refused.iter().chain([&chatd]) {
        let log = chatd.log();
        assert!(!log.contains("first-secret") && !log.contains("second-secret"), "S37: {log}");
    }
    for chatd in &refused {
        assert_eq!(chatd.metric(UP), 0);
        assert!(chatd.log().contains("no database yet"), "{}", chatd.log());
    }
}
