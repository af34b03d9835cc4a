// SPDX-License-Identifier: GPL-2.0
//! Queues beside NATS and Redis.

use crate::{
    Bench,
    report::Row,
    support::{measure, measure_in_turns, reload, sh, start, start_nats, stop},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock,
};

const NATS: &str = "NATS request";
const NATS_PUBLISH: &str = "NATS, nobody takes";
const NATS_DELIVER: &str = "NATS, one who takes";
const XADD: &str = "Redis XADD";

/// Messages of the rows of holds, and those of the figures beside them.
const MANY: &str = "100000";
const FEW: &str = "100";

/// Messages in flight when publishing.
const BATCH: f64 = 64.0;

fn instructions(node: &Node) -> Result<Vec<Row>> {
    let unit = "instructions";
    start_nats(node)?;
    let nats = measure(node, "nats 127.0.0.1")?["nats"];
    let nats_publish = measure(node, "nats_publish 127.0.0.1")?["nats64"] / BATCH;
    let nats_deliver = measure(node, "nats_deliver 127.0.0.1")?["nats_deliver64"] / BATCH;
    stop(node, "nats-server")?;
    start_redis(node, "--appendonly no")?;
    let redis = measure(node, "redis_publish 127.0.0.1")?["redis64"] / BATCH;
    stop_redis(node)?;
    let local = measure(node, "request 1")?["request"];
    let publish = measure(node, "publish 1")?["publish64"] / BATCH;
    let slow = measure(node, "publish_slow")?;
    reload(node, "queue", "loopback=1")?;
    let remote = measure(node, "request 1")?["request"];
    let remote_publish = measure(node, "publish 1")?["publish64"] / BATCH;
    let deliver = measure(node, "publish_deliver 1")?["deliver64"] / BATCH;
    reload(node, "queue", "")?;
    let longest = |count| -> Result<f64> {
        let holds = measure(node, &format!("holds {count}"))?;
        eprintln!("longest holds, {count} messages: {holds:?}");
        Ok(holds.into_values().fold(0.0, f64::max))
    };
    Ok(vec![
        Row::new(
            "longest hold, 100000 messages in a queue",
            unit,
            longest(MANY)?,
            ("100 messages", longest(FEW)?),
        )
        .value_goal(100_000.0),
        Row::new(
            "request and reply, 64 bytes, by network",
            unit,
            remote,
            (NATS, nats),
        )
        .ratio_goal(0.45),
        Row::new("the same on this node", unit, local, (NATS, nats)).ratio_goal(0.45),
        Row::new(
            "publish by network, 16 bytes, 64 at once",
            unit,
            remote_publish,
            (NATS_PUBLISH, nats_publish),
        )
        .ratio_goal(0.5),
        Row::new("the same", unit, remote_publish, (XADD, redis)).ratio_goal(0.15),
        Row::new(
            "the same, with one who takes them",
            unit,
            deliver,
            (NATS_DELIVER, nats_deliver),
        )
        .ratio_goal(0.5),
        Row::new(
            "publish on this node, 16 bytes, 64 at once",
            unit,
            publish,
            (NATS_PUBLISH, nats_publish),
        )
        .ratio_goal(0.5),
        Row::new("the same", unit, publish, (XADD, redis)).ratio_goal(0.15),
        Row::new(
            "request of a kernel thread",
            unit,
            requests(node)?,
            (NATS_PUBLISH, nats_publish),
        )
        .value_goal(1500.0),
        Row::new(
            "publish and take, beside one that does not take",
            unit,
            slow["beside_deaf"],
            ("alone", slow["alone"]),
        )
        .ratio_goal(1.1),
    ])
}

fn wall_clock(client: &Node, server: &Node) -> Result<Vec<Row>> {
    let unit = "ns between two guests";
    let (number, address) = (server.number(), server.address());
    start_nats(server)?;
    let services = [
        server.spawn(["virgo-bench-guest", "request_service"])?,
        server.spawn(["virgo-bench-guest", "nats_service", "127.0.0.1"])?,
    ];
    let [request, nats_request] = measure_in_turns(
        client,
        [
            &format!("request_there {number}"),
            &format!("nats_there {address}"),
        ],
    )?;
    for service in services {
        service.kill()?;
        service.wait()?;
    }
    start_redis(server, "--appendonly no --protected-mode no")?;
    let [virgo, nats, redis] = measure_in_turns(
        client,
        [
            &format!("publish {number}"),
            &format!("nats_publish {address}"),
            &format!("redis_publish {address}"),
        ],
    )?;
    stop(server, "nats-server")?;
    stop_redis(server)?;
    let publish = virgo["publish64"] / BATCH;
    Ok(vec![
        Row::new(
            "request and reply, 64 bytes, the service there",
            unit,
            request["request"],
            (NATS, nats_request["nats"]),
        ),
        Row::new(
            "publish there, 16 bytes, 64 at once",
            unit,
            publish,
            (NATS_PUBLISH, nats["nats64"] / BATCH),
        ),
        Row::new("the same", unit, publish, (XADD, redis["redis64"] / BATCH)),
        durable(client)?,
    ])
}

/// The disk of one guest is waited for.
fn durable(client: &Node) -> Result<Row> {
    start_redis(client, "--appendonly yes --appendfsync always")?;
    let [virgo, redis] = measure_in_turns(client, ["publish_durable", "redis_durable 127.0.0.1"])?;
    stop_redis(client)?;
    Ok(Row::new(
        "durable publish, 16 bytes, 64 at once",
        "ns in one guest",
        virgo["durable"],
        ("Redis XADD, AOF always", redis["redis_durable"]),
    )
    .ratio_goal(1.0))
}

/// What a request costs that a kernel thread makes, see `drivers/test/functions`.
fn requests(node: &Node) -> Result<f64> {
    eprintln!("measuring on {}: requests of a kernel thread", node.name());
    let said = sh(
        node,
        "rmmod virgo_kingcobra
        insmod /lib/virgo/tests/virgo_test_functions.ko
        virgo clone --on 1 virgo_test_requests 100
        rmmod virgo_test_functions
        insmod /lib/virgo/virgo_kingcobra.ko",
    )?;
    Ok(said.trim().parse()?)
}

/// Starts Redis with its files beside those of durable queues.
fn start_redis(node: &Node, options: &str) -> Result<()> {
    let script = format!(
        "mkdir -p /run/disk/redis
        redis-server --port 6379 --dir /run/disk/redis --save '' {options} >/dev/null 2>&1 &"
    );
    start(node, &script, &[6379])
}

fn stop_redis(node: &Node) -> Result<()> {
    stop(node, "redis-server")?;
    sh(node, "rm -r /run/disk/redis").map(drop)
}
