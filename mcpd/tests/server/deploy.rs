//! What `deploy/` gives to operators: the unit for systemd, the image, the manifests for Kubernetes. Each is looked at by
//! the program that it is for, where that is on this machine, and held to what mcpd is.

use crate::cases::LIMIT;
use fakes::{Certificate, Mcpd, required};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--help").output().is_ok()
}

#[test]
fn the_unit_is_one_that_systemd_takes_without_a_word_and_finds_well_locked_up() {
    if !is_there("systemd-analyze") {
        return required("systemd-analyze");
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("mcpd.service");
    let analyze = |args: &[&str], unit: &str| {
        fs::write(&path, unit).unwrap();
        let done = Command::new("systemd-analyze").args(args).arg(&path).output().unwrap();
        // Of other units it may have words to say that are not about this one.
        let said: String = text(&done).lines().filter(|line| line.contains("mcpd")).collect();
        (done.status.success(), said)
    };
    let unit = fs::read_to_string(deploy().join("mcpd.service")).unwrap();
    let unit = unit.replace("/usr/local/bin/mcpd", env!("CARGO_BIN_EXE_mcpd"));
    let verify = |unit: &str| analyze(&["verify", "--man=no"], unit);
    assert_eq!(verify(&unit), (true, String::new()));
    let odd = verify(&unit.replace("ProtectSystem=", "ProtectSytem="));
    assert!(odd.1.contains("ProtectSytem"), "{odd:?}");
    // Of ten, where ten is a service without any of it.
    let exposure =
        |unit: &str| analyze(&["security", "--offline=true", "--no-pager", "--threshold=15"], unit);
    let locked = exposure(&unit);
    assert!(locked.0 && locked.1.contains("Overall exposure level"), "{locked:?}");
    assert!(!exposure(&unit.replace("CapabilityBoundingSet=\n", "")).0);
}

#[test]
fn the_unit_gives_mcpd_more_time_than_it_takes_and_knows_that_it_says_when_it_is_ready() {
    let unit = fs::read_to_string(deploy().join("mcpd.service")).unwrap();
    let limit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(
        limit.parse::<u32>().unwrap() > 30 + 6,
        "longer than the default of --drain and what comes after it"
    );
    assert!(unit.contains("Type=notify\n"));
    // Wrong usage, which it does not start again for.
    let home = tempfile::tempdir().unwrap();
    let wrong =
        Command::new(env!("CARGO_BIN_EXE_mcpd")).args(["serve", "--drain=x"]).current_dir(&home).output();
    assert!(unit.contains(&format!("RestartPreventExitStatus={}\n", wrong.unwrap().status.code().unwrap())));
}

/// What kustomize makes of a folder.
fn rendered(folder: &str) -> Option<String> {
    if !is_there("kubectl") {
        return None;
    }
    let done = Command::new("kubectl")
        .arg("kustomize")
        .arg(deploy().join("kubernetes").join(folder))
        .output()
        .unwrap();
    assert!(done.status.success(), "{folder}: {}", text(&done));
    Some(String::from_utf8(done.stdout).unwrap())
}

fn documents(yaml: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(yaml).map(|one| Value::deserialize(one).unwrap()).collect()
}

const FOLDERS: [&str; 3] = ["base", "migrate", "example"];
/// The oldest version of Kubernetes whose schemas are asked, and the newest that the package has.
const VERSIONS: [&str; 2] = ["1.27.0", "1.37.0"];

#[test]
fn the_manifests_are_what_the_schemas_of_kubernetes_say_and_nothing_more() {
    let home = tempfile::tempdir().unwrap();
    let validate = |yaml: &str, version: &str| {
        let path = home.path().join("manifest.yaml");
        fs::write(&path, yaml).unwrap();
        let mut command = fakes::client("kubernetes-validate", home.path())?;
        Some(command.args(["--strict", "-k", version]).arg(path).output().unwrap())
    };
    for folder in FOLDERS {
        let Some(yaml) = rendered(folder) else { return required("kubectl") };
        for version in VERSIONS {
            let Some(done) = validate(&yaml, version) else { return required("kubernetes-validate") };
            assert!(done.status.success(), "{folder} {version}: {}", text(&done));
            assert_eq!(
                text(&done).matches("passed for resource").count(),
                documents(&yaml).len(),
                "{}",
                text(&done)
            );
        }
    }
    // A word that is not one is found.
    let odd = rendered("base").unwrap().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    assert!(!validate(&odd, VERSIONS[0]).unwrap().status.success());
}

/// What Pod Security `restricted` asks of a pod, and what makes sense for this one.
fn is_locked_up(pod: &Value) {
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true);
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_ne!(security["runAsUser"], 0);
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        assert!(security.get("privileged").is_none());
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(key).is_none(), "{key}");
    }
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    assert!(volumes.clone().all(|volume| volume.get("hostPath").is_none()));
    // Secrets are named, and files of them are not for everybody: 0440.
    assert!(volumes.filter_map(|volume| volume.get("secret")).all(|secret| secret["defaultMode"] == 0o440));
}

#[test]
fn the_manifests_fit_mcpd_and_hold_no_secret() {
    for folder in FOLDERS {
        let Some(yaml) = rendered(folder) else { return required("kubectl") };
        let all = documents(&yaml);
        assert!(all.iter().all(|one| one["kind"] != "Secret"), "{folder}");
        let of_kind = |kind: &str| all.iter().find(|one| one["kind"] == kind);
        if let Some(job) = of_kind("Job") {
            is_locked_up(&job["spec"]["template"]["spec"]);
            assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], json!(["migrate"]));
            continue;
        }
        let spec = &of_kind("Deployment").unwrap()["spec"];
        let pod = &spec["template"]["spec"];
        is_locked_up(pod);
        assert!(spec["replicas"].as_u64().unwrap() > 1, "{folder}");
        let container = &pod["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = container[probe]["httpGet"]["path"].as_str().unwrap();
            assert!(mcpd::routes::ROUTES.iter().any(|(route, _)| *route == path), "{probe}: {path}");
        }
        let config: Value =
            serde_yaml::from_str(of_kind("ConfigMap").unwrap()["data"]["mcpd.yaml"].as_str().unwrap())
                .unwrap();
        let port = |key: &str| config[key].as_str().unwrap().parse::<SocketAddr>().unwrap().port();
        let ports = container["ports"].as_array().unwrap();
        let named =
            |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64();
        assert_eq!(named("https"), Some(port("listen").into()));
        assert_eq!(named("metrics"), Some(port("metricsListen").into()));
        let seconds = |key: &str| config[key].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace > seconds("drainDelay") + seconds("drain") + 6, "{folder}");
        // What selects pods selects these.
        let labels = &spec["template"]["metadata"]["labels"];
        let selects =
            |selector: &Value| selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value);
        assert!(selects(&spec["selector"]["matchLabels"]));
        assert!(selects(&of_kind("Service").unwrap()["spec"]["selector"]));
        assert!(selects(&of_kind("PodDisruptionBudget").unwrap()["spec"]["selector"]["matchLabels"]));
        assert!(selects(&of_kind("NetworkPolicy").unwrap()["spec"]["podSelector"]["matchLabels"]));
    }
}

#[test]
fn the_configuration_files_of_the_manifests_are_taken_by_mcpd() {
    let dir = tempfile::tempdir().unwrap();
    let issued = Certificate::Good.issue();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    fs::write(&certificate, &issued.certificate).unwrap();
    fs::write(&key, &issued.key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
    for folder in ["base", "example"] {
        let file = deploy().join("kubernetes").join(folder).join("mcpd.yaml");
        // All but the addresses and the places of the pair, which are those of a pod.
        let args = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        let args =
            ["--config", file.to_str().unwrap(), "--metrics-listen", "127.0.0.1:0"].into_iter().chain(args);
        let mcpd = args.clone().fold(Mcpd::builder(), fakes::McpdBuilder::arg).start();
        let checked = mcpd.run(&["check"].into_iter().chain(args).collect::<Vec<_>>());
        assert!(checked.status.success(), "{folder}: {}", text(&checked));
    }
}

/// A double of the API server of a cluster, as much of it as `kubectl` needs to tell what it would do: which kinds there
/// are, and that nothing is there yet. It says everything once a connection.
fn cluster() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Ends with the process: it holds nothing.
    thread::spawn(move || listener.incoming().for_each(|stream| drop(answer(stream.unwrap()))));
    addr
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    while reader.read_line(&mut line)? > 2 && !line.ends_with("\r\n\r\n") {}
    let (status, body) = said_of(&path);
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Groups, with the kinds that the manifests use.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("v1", "Namespace", "namespaces", false),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Service", "services", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("batch/v1", "Job", "jobs", true),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true),
];

fn said_of(path: &str) -> (&'static str, Value) {
    let group = path.trim_start_matches("/apis/").trim_start_matches("/api/");
    if path == "/api" {
        return ("200 OK", json!({"kind": "APIVersions", "versions": ["v1"]}));
    }
    if path == "/apis" {
        let groups = KINDS.iter().filter_map(|(group, ..)| group.split_once('/')).map(|(name, version)| {
            let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
            json!({"name": name, "versions": [version], "preferredVersion": version})
        });
        let groups: Vec<Value> = groups.collect();
        return ("200 OK", json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
    }
    let kinds = KINDS.iter().filter(|(of, ..)| *of == group);
    let resources: Vec<Value> = kinds
        .map(|(_, kind, name, namespaced)| {
            let verbs = ["create", "get", "patch"];
            json!({"name": name, "kind": kind, "namespaced": namespaced, "singularName": "", "verbs": verbs})
        })
        .collect();
    if resources.is_empty() {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
        return ("404 Not Found", status);
    }
    let list =
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources});
    ("200 OK", list)
}

#[test]
fn kubectl_would_apply_the_manifests() {
    if !is_there("kubectl") {
        return required("kubectl");
    }
    let home = tempfile::tempdir().unwrap();
    let apply = |yaml: &str| {
        let path = home.path().join("manifest.yaml");
        fs::write(&path, yaml).unwrap();
        let mut command = Command::new("kubectl");
        command.args([
            "apply",
            "--dry-run=client",
            "--validate=false",
            "--server",
            &format!("http://{}", cluster()),
        ]);
        command.arg("-f").arg(path).env("HOME", home.path()).env("KUBECONFIG", "/dev/null").output().unwrap()
    };
    for folder in FOLDERS {
        let yaml = rendered(folder).unwrap();
        let done = apply(&yaml);
        assert!(done.status.success(), "{folder}: {}", text(&done));
        assert_eq!(
            text(&done).matches(" created (dry run)").count(),
            documents(&yaml).len(),
            "{}",
            text(&done)
        );
    }
    // Kinds and versions that do not exist are found.
    let odd = apply(&rendered("migrate").unwrap().replace("batch/v1", "batch/v2"));
    assert!(!odd.status.success() && text(&odd).contains("batch/v2"), "{}", text(&odd));
}

#[test]
fn the_image_is_built_with_our_rust_runs_as_a_number_and_holds_no_shell() {
    let file = fs::read_to_string(deploy().join("Containerfile")).unwrap();
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let toolchain = fs::read_to_string(deploy().join("../rust-toolchain.toml")).unwrap();
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(lines[0].starts_with(&format!("FROM rust:{channel}-")), "{}", lines[0]);
    let last = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    assert_eq!(lines[last], "FROM scratch");
    let final_stage = &lines[last..];
    assert!(!final_stage.iter().any(|line| line.starts_with("RUN ") || line.starts_with("ADD ")));
    let user = final_stage.iter().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert!(lines.contains(&"RUN deploy/image-root target/release/mcpd /image"));
}

#[test]
fn what_is_in_the_image_is_enough_for_mcpd() {
    if !Path::new("/etc/ssl/certs/ca-certificates.crt").is_file() {
        return required("ca-certificates");
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("image");
    let made = Command::new(deploy().join("image-root"))
        .arg(env!("CARGO_BIN_EXE_mcpd"))
        .arg(&root)
        .output()
        .unwrap();
    assert!(made.status.success() && made.stdout.is_empty(), "{}", text(&made));
    // As root or as somebody who may play it: with nothing but what is in the folder, and without rights.
    let is_root = rustix::process::geteuid().is_root();
    let run = |args: &[&str]| {
        let mut command = Command::new(if is_root { "chroot" } else { "unshare" });
        if is_root {
            command.arg("--userspec=65532:65532").arg(&root);
        } else {
            command.args(["--map-root-user", "chroot"]).arg(&root);
        }
        command.arg("/usr/local/bin/mcpd").args(args).env("MCPD_DATA_DIR", "/var/lib/mcpd").output()
    };
    // Some machines let nobody do that.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let version = match run(&["--version"]) {
        Ok(done) if done.status.success() || !text(&done).contains("Operation not permitted") => done,
        Ok(_) | Err(_) => return required("chroot"),
    };
    assert!(version.status.success() && text(&version).starts_with("mcpd "), "{}", text(&version));
    let token = run(&["bootstrap", "--admin", "ana"]).unwrap();
    assert!(token.status.success() && token.stdout.starts_with(b"mcpd_"), "{}", text(&token));
    let check = run(&["check"]).unwrap();
    assert!(check.status.success() && text(&check).contains("ok  integrity"), "{}", text(&check));
    // No program but one.
    let found = Command::new("find").arg(&root).args(["-path", "*/bin/*", "-type", "f"]).output().unwrap();
    assert_eq!(text(&found).lines().count(), 1, "{}", text(&found));
}
