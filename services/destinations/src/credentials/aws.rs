//! AWS's environment variables, `~/.aws/credentials` and `~/.aws/config`.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{CredentialsError, text};
use crate::settings::{Environment, Settings};

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// What AWS's tools would use.
#[derive(Default)]
pub(crate) struct Aws {
    pub(crate) key: String,
    pub(crate) secret: Zeroizing<String>,
    /// Of credentials that expire.
    pub(crate) session: Option<Zeroizing<String>>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

impl Aws {
    /// The file that the person names counts alone. Otherwise the environment comes before the files, as in AWS's tools, unless a profile is named.
    pub(crate) fn find(settings: &Settings, env: &dyn Environment) -> Result<Self, CredentialsError> {
        let profile =
            settings.profile.clone().or_else(|| env.get("AWS_PROFILE")).unwrap_or_else(|| "default".into());
        let file =
            |variable: &str, usual: &str| env.get(variable).map(PathBuf::from).or_else(|| env.home(usual));
        let config = file("AWS_CONFIG_FILE", ".aws/config");
        let section = if profile == "default" { profile.clone() } else { format!("profile {profile}") };
        let mut found = Self::default();
        if let Some(text) = config.as_deref().map(text).transpose()?.flatten() {
            found.take(&text, &section);
        }
        if let Some(path) = &settings.credentials {
            found.take_file(path, &profile)?;
        } else if let (None, Some(key)) = (&settings.profile, env.get(KEY)) {
            found.key = key;
            found.secret = env.get(SECRET).map(Zeroizing::new).ok_or(CredentialsError::Half(KEY, SECRET))?;
            found.session = env.get("AWS_SESSION_TOKEN").map(Zeroizing::new);
        } else if let Some(path) = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")
            && let Some(text) = text(&path)?
        {
            found.take(&text, &profile);
            found.is_whole(&path, &profile)?;
        }
        if found.key.is_empty() || found.secret.is_empty() {
            return Err(CredentialsError::None);
        }
        let variable = |names: &[&str]| names.iter().find_map(|name| env.get(name));
        found.region = variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or(found.region);
        found.endpoint = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).or(found.endpoint);
        Ok(found)
    }

    fn take_file(&mut self, path: &Path, profile: &str) -> Result<(), CredentialsError> {
        let why = || "there is no such file".to_owned();
        let text = text(path)?.ok_or_else(|| CredentialsError::File { path: path.to_owned(), why: why() })?;
        self.take(&text, profile);
        self.is_whole(path, profile)
    }

    fn is_whole(&self, path: &Path, profile: &str) -> Result<(), CredentialsError> {
        if !self.key.is_empty() && !self.secret.is_empty() {
            return Ok(());
        }
        let what = format!("section [{profile}] with aws_access_key_id and aws_secret_access_key");
        Err(CredentialsError::Missing { path: path.to_owned(), what })
    }

    /// Takes what a section says. Indented lines belong to the setting above them, which is none of these.
    fn take(&mut self, text: &str, section: &str) {
        let mut inside = false;
        for line in text.lines() {
            let begin = line.trim_end();
            if let Some(name) = begin.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name.split_whitespace().eq(section.split_whitespace());
                continue;
            }
            if !inside || begin.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            let Some((name, value)) = begin.split_once('=') else { continue };
            let value = value.trim();
            match name.trim() {
                "aws_access_key_id" => value.clone_into(&mut self.key),
                "aws_secret_access_key" => self.secret = Zeroizing::new(value.to_owned()),
                "aws_session_token" => self.session = Some(Zeroizing::new(value.to_owned())),
                "region" => self.region = Some(value.to_owned()),
                "endpoint_url" => self.endpoint = Some(value.to_owned()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = AK\naws_secret_access_key=SK\n\n[ other ]\naws_access_key_id=AK2\naws_secret_access_key = SK2\naws_session_token = T2\n[half]\naws_access_key_id = AK3\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\ns3 =\n    region = not-this-one\n[profile other]\nregion = nl-ams\nendpoint_url = https://s3.example.org\n";

    /// Finds with these files and variables.
    fn find(settings: &Settings, variables: &[(&str, &str)]) -> Result<Aws, CredentialsError> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
        let all = [("HOME", home.path().to_str().unwrap())];
        let get = |name: &str| {
            variables.iter().chain(&all).find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        Aws::find(settings, &get)
    }

    #[test]
    fn the_environment_counts_before_the_files_and_a_named_profile_before_both() {
        let found = find(&Settings::default(), &[]).unwrap();
        assert_eq!((found.key.as_str(), found.secret.as_str(), found.session), ("AK", "SK", None));
        assert_eq!((found.region.as_deref(), found.endpoint), (Some("eu-central-1"), None));
        let variables =
            [(KEY, "AK0"), (SECRET, "SK0"), ("AWS_REGION", "r"), ("AWS_ENDPOINT_URL", "https://e")];
        let found = find(&Settings::default(), &variables).unwrap();
        assert_eq!((found.key.as_str(), found.secret.as_str()), ("AK0", "SK0"));
        assert_eq!((found.region.as_deref(), found.endpoint.as_deref()), (Some("r"), Some("https://e")));
        let other = Settings { profile: Some("other".into()), ..Settings::default() };
        let found = find(&other, &variables[..2]).unwrap();
        assert_eq!((found.key.as_str(), found.session.unwrap().as_str()), ("AK2", "T2"));
        assert_eq!(
            (found.region.as_deref(), found.endpoint.as_deref()),
            (Some("nl-ams"), Some("https://s3.example.org"))
        );
        let found = find(&Settings::default(), &[("AWS_PROFILE", "other")]).unwrap();
        assert_eq!(found.key, "AK2");
    }

    #[test]
    fn what_is_missing_is_named_and_no_secret_is_shown() {
        let text = |settings: &Settings, variables: &[(&str, &str)]| {
            find(settings, variables).err().unwrap().to_string()
        };
        let profile = |name: &str| Settings { profile: Some(name.into()), ..Settings::default() };
        assert!(text(&profile("none"), &[]).contains("section [none]"));
        assert!(text(&profile("half"), &[]).contains("section [half]"));
        assert!(text(&Settings::default(), &[(KEY, "AK0")]).contains(SECRET));
        let absent = Settings { credentials: Some("/none/such".into()), ..Settings::default() };
        assert!(text(&absent, &[(KEY, "AK0"), (SECRET, "SK0")]).contains("/none/such"));
        assert!(Aws::find(&Settings::default(), &|_: &str| None).is_err());
    }
}
