//! The names of a fleet's objects: for the plan, for the Secrets of the stages certificates and credentials, and for the check that no two collide.

use super::names::{FleetName, RegionName};

/// Objects that a fleet has once: `<name>-<part>`. No region may have such a name: people would mistake one object for the other.
const PARTS: [&str; 21] = [
    "documents",
    "chatd",
    "chatd-ca",
    "chatd-tls",
    "chatd-web",
    "chatd-web-ca",
    "postgres",
    "postgres-tls",
    "postgres-url",
    "fleet",
    "root",
    "ca",
    "admin",
    "vault",
    "deny",
    "alerts",
    "dashboard",
    "operator",
    "pki",
    "ceremony",
    "ceremony-request",
];

/// Suffixes of a region's objects.
const ENDINGS: [&str; 5] = ["", "-relay", "-tls", "-pin", "-hsm"];

/// The names of one fleet's objects.
#[derive(Clone, Copy, Debug)]
pub struct ObjectNames<'a> {
    fleet: &'a FleetName,
}

impl<'a> ObjectNames<'a> {
    /// Of this fleet.
    pub const fn new(fleet: &'a FleetName) -> Self {
        Self { fleet }
    }

    fn part(self, part: &str) -> String {
        format!("{}-{part}", self.fleet)
    }

    /// The fleet's own: budget, monitors.
    pub fn fleet(self) -> String {
        self.fleet.to_string()
    }

    /// A vault: StatefulSet, headless Service, ConfigMap, ServiceAccount.
    pub fn vault(self, region: &RegionName) -> String {
        self.part(region.as_str())
    }

    /// A vault's Service for ChatD.
    pub fn relay(self, region: &RegionName) -> String {
        self.part(&format!("{region}-relay"))
    }

    /// Secret: a vault's role certificate.
    pub fn vault_tls(self, region: &RegionName) -> String {
        self.part(&format!("{region}-tls"))
    }

    /// Secret: the PIN that the operator makes.
    pub fn pin(self, region: &RegionName) -> String {
        self.part(&format!("{region}-pin"))
    }

    /// NetworkPolicy: a vault's way to its token.
    pub fn hsm(self, region: &RegionName) -> String {
        self.part(&format!("{region}-hsm"))
    }

    /// NetworkPolicy of all vaults.
    pub fn vaults(self) -> String {
        self.part("vault")
    }

    /// NetworkPolicy that forbids everything that no other policy allows.
    pub fn deny(self) -> String {
        self.part("deny")
    }

    /// ChatD: Deployment, Service, ConfigMap, ServiceAccount.
    pub fn chatd(self) -> String {
        self.part("chatd")
    }

    /// Secret: ChatD's role certificate.
    pub fn chatd_tls(self) -> String {
        self.part("chatd-tls")
    }

    /// Secret: ChatD's web certificate.
    pub fn chatd_web(self) -> String {
        self.part("chatd-web")
    }

    /// Secret: the built-in authority that signs roles, and the database's certificate.
    pub fn role_authority(self) -> String {
        self.part("ca")
    }

    /// Secret: the built-in authority that signs ChatD's web certificate alone.
    pub fn web_authority(self) -> String {
        self.part("chatd-web-ca")
    }

    /// ConfigMap: the authority of ChatD's web certificate.
    pub fn chatd_ca(self) -> String {
        self.part("chatd-ca")
    }

    /// The managed database: StatefulSet, Service, ServiceAccount, Secret with its password.
    pub fn postgres(self) -> String {
        self.part("postgres")
    }

    /// Secret: the database's certificate.
    pub fn postgres_tls(self) -> String {
        self.part("postgres-tls")
    }

    /// Secret: the database's URL.
    pub fn postgres_url(self) -> String {
        self.part("postgres-url")
    }

    /// ConfigMap: the journal.
    pub fn journal(self) -> String {
        self.part("fleet")
    }

    /// ConfigMap: the documents in force.
    pub fn documents(self) -> String {
        self.part("documents")
    }

    /// ConfigMap that asks people to sign.
    pub fn ceremony_request(self) -> String {
        self.part("ceremony-request")
    }

    /// ConfigMap: the public root.
    pub fn root(self) -> String {
        self.part("root")
    }

    /// Secret: the operator's own role certificate, where cert-manager issues it.
    pub fn admin(self) -> String {
        self.part("admin")
    }

    /// ConfigMap: the dashboard.
    pub fn dashboard(self) -> String {
        self.part("dashboard")
    }
}

/// Whether the region has the name of one of the fleet's own parts.
pub(super) fn is_part(region: &RegionName) -> bool {
    PARTS.contains(&region.as_str())
}

/// An earlier region that would have an object of the same name.
pub(super) fn collides<'a>(region: &RegionName, earlier: &'a [RegionName]) -> Option<&'a RegionName> {
    let names = |r: &RegionName| ENDINGS.map(|e| format!("{r}{e}"));
    let own = names(region);
    earlier.iter().find(|other| names(other).iter().any(|n| own.contains(n)))
}
