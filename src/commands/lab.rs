//! `fleet lab`.

use std::fmt::Write as _;

use super::stop::Told;
use super::{Exit, Trouble, output};
use crate::cli::{Cli, LabSub, LabUpArgs};
use crate::lab::{Fault, HELP, HostSpec, Lab};

/// Does it.
pub(super) async fn run(cli: &Cli, args: &LabSub) -> Result<Exit, Trouble> {
    let _ = cli;
    match args {
        LabSub::Up(args) if args.fault.iter().any(|fault| fault == "help") => {
            let mut text = "Faults of simulated hosts, for --fault HOST=FAULT:\n".to_owned();
            for (name, does) in HELP {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {name:<28}{does}");
            }
            output::print(&text)?;
            Ok(Exit::Done)
        }
        LabSub::Up(args) => up(args).await,
        // `main` answers stand-ins before anything else; this is reached with a line that is not complete.
        LabSub::StandIn { .. } => Err(Trouble::usage("stand-ins are called by simulated hosts only")),
    }
}

async fn up(args: &LabUpArgs) -> Result<Exit, Trouble> {
    let specs = specs(args)?;
    let mut told = Told::listen()?;
    let fleet = std::env::current_exe()?;
    let folder = args.folder.clone();
    let lab = tokio::task::spawn_blocking(move || Lab::start(&folder, specs, &fleet))
        .await
        .map_err(Trouble::internal)?
        .map_err(Trouble::usage)?;
    output::print(&made(&lab, args))?;
    told.next().await;
    lab.stop();
    output::print("The simulated hosts are gone; their folders stay until the lab is started again.\n")?;
    Ok(Exit::Done)
}

/// The hosts that were asked for.
fn specs(args: &LabUpArgs) -> Result<Vec<HostSpec>, Trouble> {
    if args.hosts == 0 {
        return Err(Trouble::usage("--hosts 0: a lab has at least one host"));
    }
    let width = args.hosts.to_string().len().max(2);
    let mut specs: Vec<HostSpec> = (1..=args.hosts)
        .map(|number| {
            let spec = HostSpec::new(format!("lab-{number:0width$}")).version(args.stackspin);
            if args.apps.is_empty() { spec } else { spec.apps(args.apps.clone()) }
        })
        .collect();
    for text in &args.fault {
        let (name, fault) = text.split_once('=').ok_or_else(|| {
            Trouble::usage(format!("--fault {text:?}: write HOST=FAULT, e.g. lab-01=unreachable"))
        })?;
        let fault: Fault = fault.parse().map_err(Trouble::usage)?;
        let spec = specs.iter_mut().find(|spec| spec.name == name).ok_or_else(|| {
            Trouble::usage(format!(
                "--fault {text:?}: there is no host {name:?}; they are lab-{:0width$} and so on",
                1
            ))
        })?;
        spec.faults.push(fault);
    }
    Ok(specs)
}

/// What was made, and what to type next.
fn made(lab: &Lab, args: &LabUpArgs) -> String {
    let mut text = format!(
        "A simulation: {} simulated hosts with Stackspin {} on this machine's loopback. No real cluster is touched.\n\n",
        args.hosts, args.stackspin
    );
    for host in lab.hosts().take(12) {
        let spec = host.spec();
        let faults: Vec<String> = spec.faults.iter().map(ToString::to_string).collect();
        let faults =
            if faults.is_empty() { String::new() } else { format!("  faults: {}", faults.join(", ")) };
        let _ = writeln!(
            text,
            "  {:<12} ssh port {:<6} api port {:<6} {}{faults}",
            spec.name,
            host.ssh.number(),
            host.api.number(),
            spec.apps.join(", ")
        );
    }
    if args.hosts > 12 {
        let _ = writeln!(text, "  … and {} more", args.hosts - 12);
    }
    let inventory = lab.inventory();
    let inventory = inventory.display();
    let first = lab.hosts().next();
    let _ = write!(
        text,
        "\nIn another terminal:\n  fleet --inventory {inventory} facts --all\n  fleet --inventory {inventory} plan --all --to 0.7\n  \
         fleet --inventory {inventory} upgrade --all --to 0.7\n"
    );
    if let Some(host) = first {
        let _ = write!(
            text,
            "  ssh -i {} -p {} root@127.0.0.1 k3s kubectl get namespaces\n  KUBECONFIG={} kubectl get nodes -o json\n",
            lab.folder().join("id_ed25519").display(),
            host.ssh.number(),
            host.folder().join("etc-rancher/k3s.yaml").display()
        );
    }
    text.push_str("\nCtrl-C ends the simulation.\n");
    text
}
