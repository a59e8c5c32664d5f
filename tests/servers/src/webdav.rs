//! Apache with mod_dav over a folder.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port};

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// Whether the server has a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// A certificate for `localhost`, by an authority of its own.
    On,
}

/// A WebDAV server for one user.
#[derive(Debug)]
pub struct WebDav {
    dir: TempDir,
    port: u16,
    tls: Tls,
    process: Option<Process>,
}

impl WebDav {
    /// User and password.
    pub const LOGIN: (&str, &str) = ("anna", "secret-9c2e");

    /// Starts it.
    #[must_use]
    pub fn start(tls: Tls) -> Self {
        let mut server = Self::prepared(tls);
        server.go_on();
        server
    }

    /// A server that does not run yet. `root` may be mounted over.
    #[must_use]
    pub fn prepared(tls: Tls) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let server = Self { dir, port: free_port(), tls, process: None };
        for folder in ["root", "run"] {
            fs::create_dir(server.at(folder)).expect("a folder");
            // Apache that is started by root serves as another user.
            for open in [server.dir.path(), &server.at(folder)] {
                fs::set_permissions(open, fs::Permissions::from_mode(0o777)).expect("a mode");
            }
        }
        server.let_in(Self::LOGIN.1);
        if tls == Tls::On {
            server.certify();
        }
        server
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder that it serves.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.at("root")
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}:{}", if self.tls == Tls::On { "localhost" } else { "127.0.0.1" }, self.port)
    }

    /// The authority of its certificate, as PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.at("authority.pem")
    }

    /// From now on the user has this password.
    pub fn let_in(&self, password: &str) {
        // The form of passwords that needs no tool: {SHA}. No real password lies here.
        let made = Command::new("openssl").args(["passwd", "-apr1", password]).output().expect("openssl");
        let hash = String::from_utf8(made.stdout).expect("text");
        fs::write(self.at("users"), format!("{}:{}\n", Self::LOGIN.0, hash.trim())).expect("write");
    }

    fn certify(&self) {
        let mut authority = rcgen::CertificateParams::new([]).expect("a name");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let signed = authority.self_signed(&key).expect("a certificate");
        let issuer = rcgen::Issuer::new(authority, key);
        let leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let leaf_key = rcgen::KeyPair::generate().expect("a key");
        let certificate = leaf.signed_by(&leaf_key, &issuer).expect("a certificate");
        fs::write(self.authority(), signed.pem()).expect("write");
        fs::write(self.at("certificate.pem"), certificate.pem()).expect("write");
        fs::write(self.at("key.pem"), leaf_key.serialize_pem()).expect("write");
    }

    fn configuration(&self) -> String {
        let at = |name: &str| self.at(name).display().to_string();
        let mut text = String::new();
        let mut modules = vec![
            "mpm_event",
            "authn_core",
            "authn_file",
            "authz_core",
            "authz_user",
            "auth_basic",
            "dav",
            "dav_fs",
        ];
        if self.tls == Tls::On {
            modules.push("ssl");
        }
        for module in modules {
            let _ = writeln!(text, "LoadModule {module}_module {MODULES}/mod_{module}.so");
        }
        let _ = write!(
            text,
            "ServerName localhost\nListen 127.0.0.1:{port}\nServerRoot {run}\nDefaultRuntimeDir {run}\nPidFile {run}/pid\nErrorLog {run}/log\n\
             User www-data\nGroup www-data\nDocumentRoot {root}\nDavLockDB {run}/locks\nLimitXMLRequestBody 0\n\
             <Directory {root}>\nDav On\nDavDepthInfinity Off\nAuthType Basic\nAuthName x\nAuthBasicProvider file\nAuthUserFile {users}\nRequire valid-user\n</Directory>\n",
            port = self.port,
            run = at("run"),
            root = at("root"),
            users = at("users"),
        );
        if self.tls == Tls::On {
            let _ = write!(
                text,
                "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\n",
                at("certificate.pem"),
                at("key.pem")
            );
        }
        text
    }

    /// Starts it again at the same port.
    pub fn go_on(&mut self) {
        assert!(Path::new(PROGRAM).exists(), "Apache is missing: scripts/needs.sh installs it");
        fs::write(self.at("conf"), self.configuration()).expect("write");
        let mut command = Command::new(PROGRAM);
        command.arg("-f").arg(self.at("conf")).arg("-DFOREGROUND");
        self.process = Some(Process::start(command, self.port, &self.at("out")));
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process = None;
    }
}
