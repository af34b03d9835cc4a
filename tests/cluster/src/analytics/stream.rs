// SPDX-License-Identifier: GPL-2.0
//! Variables that a host sends as a stream, and what of the room for variables it may have.

use super::{PATIENCE, PORT, fresh, get};
use crate::support::{fails, sh, text, with_config, within};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

/// A counter of the stream: connections, lines, values, refused.
fn counter(node: &Node, name: &str) -> Result<u64> {
    let state = sh(
        node,
        "grep '^stream' /sys/kernel/debug/virgo/kernel_analytics/state",
    )?;
    let index = match name {
        "connections" => 2,
        "lines" => 3,
        "values" => 4,
        _ => 5,
    };
    let value = state.split(' ').nth(index);
    Ok(value.context("no counter")?.parse()?)
}

/// Serves the stream on `host`, once, with what a shell command prints.
fn serve<T>(host: &Node, make: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let server = host.spawn([
        "sh",
        "-c",
        &format!("( {make} ) | nc -l -p 64000 >/tmp/said"),
    ])?;
    let result = during();
    // Whoever waits for more is not to wait for ever.
    sh(host, "killall nc sleep yes 2>/dev/null; true")?;
    let _ = server.wait_timeout(Duration::from_secs(20));
    result
}

pub fn stream(cluster: &Cluster) -> Result<()> {
    let (node, host) = (cluster.node(1), cluster.node(2));
    fresh(&node, "")?;
    let on = format!(
        "virgo analytics set streaming_kernel_analytics_host={} read_from_stream=1",
        host.address()
    );
    serve(&host, "echo k1=v1; sleep 60", || {
        sh(&node, &on)?;
        within(PATIENCE, || {
            ensure!(get(&node, "k1")? == "v1");
            Ok(())
        })
    })?;
    ensure!(sh(&host, "cat /tmp/said")? == "KERNEL_ANALYTICS_STREAMING_START");
    // The host is back after a while, and is found again.
    serve(&host, "echo 'k1=v2,k2={1, 2}'; sleep 60", || {
        within(PATIENCE, || {
            ensure!(get(&node, "k1")? == "v2" && get(&node, "k2")? == "{1, 2}");
            Ok(())
        })
    })?;
    // Off is off.
    sh(&node, "virgo analytics set read_from_stream=0")?;
    let before = counter(&node, "connections")?;
    serve(&host, "echo k1=v3; sleep 3", || sh(&node, "sleep 4"))?;
    ensure!(counter(&node, "connections")? == before && get(&node, "k1")? == "v2");
    fresh(&node, "")
}

pub fn hostile(cluster: &Cluster) -> Result<()> {
    let (node, host) = (cluster.node(1), cluster.node(2));
    fresh(&node, "stream_lines=100")?;
    let on = format!(
        "virgo analytics set streaming_kernel_analytics_host={} read_from_stream=1",
        host.address()
    );
    // Lines that are no pairs, that want another host, and that are not finished.
    let lines = "printf 'x\\n\\377=1\\na=1,b\\nread_from_stream=0\\n\
                 streaming_kernel_analytics_host=1.2.3.4\\nok=1\\ncut=1'";
    serve(&host, lines, || {
        sh(&node, &on)?;
        within(PATIENCE, || {
            ensure!(get(&node, "ok")? == "1");
            Ok(())
        })
    })?;
    ensure!(
        counter(&node, "refused")? == 5,
        "{}",
        counter(&node, "refused")?
    );
    ensure!(get(&node, "read_from_stream")? == "1");
    for key in ["a", "cut"] {
        fails(&node, &format!("virgo analytics get {key}"))?;
    }
    // One endless line ends the connection.
    let before = counter(&node, "connections")?;
    serve(&host, "yes x | tr -d '\\n'", || {
        within(PATIENCE, || {
            ensure!(counter(&node, "connections")? > before);
            Ok(())
        })?;
        within(PATIENCE, || {
            ensure!(
                sh(&node, "cat /sys/kernel/debug/virgo/kernel_analytics/state")?
                    .contains("stream -")
            );
            Ok(())
        })
    })?;
    // A flood is taken as fast as is allowed, and no faster.
    let before = counter(&node, "connections")?;
    serve(&host, "yes flood=1", || {
        within(PATIENCE, || {
            ensure!(counter(&node, "connections")? > before);
            Ok(())
        })?;
        let lines = counter(&node, "lines")?;
        let took = sh(
            &node,
            "s=$(cut -d' ' -f1 /proc/uptime); sleep 5; echo $s $(cut -d' ' -f1 /proc/uptime)",
        )?;
        let times: Vec<f64> = took.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let taken = counter(&node, "lines")? - lines;
        println!("{taken} lines in {:.1} s", times[1] - times[0]);
        ensure!(
            taken > 100 && taken as f64 <= 150.0 * (times[1] - times[0] + 5.0),
            "{taken}"
        );
        Ok(())
    })?;
    fresh(&node, "")
}

/// New variables of a user other than root have a share, and so do those of the stream: root can still make some.
pub fn shares(cluster: &Cluster) -> Result<()> {
    let (node, host) = (cluster.node(1), cluster.node(2));
    fresh(&node, "max_keys=64")?;
    with_config(&node, "callers = kernel_analytics 65534", || {
        let sets: Vec<_> = (0..40).map(|i| format!("set(k{i}=1)")).collect();
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let replies = text(&node, &node, PORT, &sets)?;
        let taken = replies.iter().filter(|reply| *reply == "set=1").count();
        ensure!(
            taken == 32 && replies[32].starts_with("ERR EDQUOT"),
            "{replies:?}"
        );
        Ok(())
    })?;
    sh(&node, "virgo analytics set root=1")?;

    fresh(&node, "max_bytes=65536")?;
    let on = format!(
        "virgo analytics set streaming_kernel_analytics_host={} read_from_stream=1",
        host.address()
    );
    serve(&host, "seq 1000 | sed 's/.*/k&=v/'; sleep 60", || {
        sh(&node, &on)?;
        within(PATIENCE, || {
            ensure!(counter(&node, "refused")? > 0);
            Ok(())
        })
    })?;
    ensure!(get(&node, "k1")? == "v");
    sh(
        &node,
        &format!("virgo analytics set root={}", "v".repeat(4000)),
    )?;
    fresh(&node, "")
}
