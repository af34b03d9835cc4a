// SPDX-License-Identifier: GPL-2.0
//! Messages.

use crate::{
    Measurement,
    cpupooling::{self, expect, nats_request, nats_session, next_line},
    measure, measure_slow,
};
use anyhow::{Result, ensure};
use std::{
    io::{BufReader, Write},
    net::TcpStream,
    thread,
};
use virgo::queue::{How, Queue, Subscription, serve};

pub const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("request", request),
    ("request_there", request_there),
    ("request_service", request_service),
    ("nats_there", nats_request),
    ("nats_service", nats_service),
    ("publish", publish),
    ("publish_slow", publish_slow),
    ("publish_durable", publish_durable),
    ("publish_deliver", publish_deliver),
    ("nats_publish", nats_publish),
    ("nats_deliver", nats_deliver),
    ("redis_publish", redis_publish),
    ("redis_durable", redis_durable),
];

/// Messages in flight.
const BATCH: usize = 64;

const SERVICE: &str = "bench.service";

/// A request of 64 bytes to a queue on the node of a number, and its reply, of which a thread here
/// takes care.
fn request(node: &str) -> Result<()> {
    // What is left of an earlier one.
    let _ = Queue::new(SERVICE).delete();
    thread::spawn(|| request_service(""));
    request_there(node)
}

/// The same, with somebody on that node who takes care.
fn request_there(node: &str) -> Result<()> {
    let service = Queue::new(SERVICE).on(node.parse()?);
    while service.request(b"ready?").is_err() {}
    let data = [b'p'; 64];
    measure("request", || {
        ensure!(service.request(&data)? == data);
        Ok(())
    })
}

/// Takes care of requests, for good.
fn request_service(_: &str) -> Result<()> {
    Ok(serve(SERVICE, |request| request.data.clone())?)
}

fn nats_service(address: &str) -> Result<()> {
    cpupooling::nats_service(address)?()
}

/// Times publishing of 64 messages of 16 bytes to a queue that drops the oldest.
fn publish_to(name: &str, queue: &Queue, options: &str) -> Result<()> {
    let _ = queue.delete();
    queue.create(options)?;
    let messages = [&[b'p'; 16][..]; BATCH];
    let result = measure(name, || {
        ensure!(queue.publish_all(&messages, How::default())? == BATCH);
        Ok(())
    });
    queue.delete()?;
    result
}

fn publish(node: &str) -> Result<()> {
    let queue = Queue::new("bench.publish").on(node.parse()?);
    publish_to("publish64", &queue, "policy=drop-oldest messages=1000")
}

/// Publishing to a topic of this node, as the node of a number, with a subscriber that takes.
fn publish_deliver(node: &str) -> Result<()> {
    let topic = Queue::new("bench.deliver").on(node.parse()?);
    let subscription = Subscription::open("bench.deliver", "messages=10000")?;
    thread::spawn(move || while subscription.take(BATCH, None).is_ok() {});
    let messages = [&[b'p'; 16][..]; BATCH];
    measure("deliver64", || {
        ensure!(topic.publish_all(&messages, How::default())? == BATCH);
        Ok(())
    })
}

fn publish_durable(_: &str) -> Result<()> {
    let queue = Queue::new("bench.durable");
    let _ = queue.delete();
    queue.create("durable messages=1000000 bytes=1000000000")?;
    let messages = [&[b'p'; 16][..]; BATCH];
    let result = measure_slow("durable", BATCH * 8, || {
        for _ in 0..8 {
            ensure!(queue.publish_all(&messages, How::default())? == BATCH);
        }
        Ok(())
    });
    queue.delete()?;
    result
}

/// The cost of a publish to a topic with a good subscriber, alone and beside one that does not take.
fn publish_slow(_: &str) -> Result<()> {
    let topic = Queue::new("bench.topic");
    let good = Subscription::open("bench.topic", "messages=1000")?;
    let message = [&[b'p'; 16][..]];
    let mut once = || -> Result<()> {
        topic.publish_all(&message, How::default())?;
        ensure!(good.take(1, None)?.len() == 1);
        Ok(())
    };
    measure("alone", &mut once)?;
    let reading = Subscription::open("bench.topic", "messages=1000")?;
    measure("beside_reader", || {
        once()?;
        ensure!(reading.take(1, None)?.len() == 1);
        Ok(())
    })?;
    drop(reading);
    let deaf = Subscription::open("bench.topic", "messages=1000")?;
    measure("beside_deaf", &mut once)?;
    drop(deaf);
    Ok(())
}

fn redis_publish(address: &str) -> Result<()> {
    let mut once = redis_batch(address)?;
    measure("redis64", &mut once)
}

fn redis_durable(address: &str) -> Result<()> {
    let mut once = redis_batch(address)?;
    measure_slow("redis_durable", BATCH * 8, || {
        (0..8).try_for_each(|_| once())
    })
}

/// Adds 64 messages of 16 bytes to a stream of Redis.
fn redis_batch(address: &str) -> Result<impl FnMut() -> Result<()>> {
    let mut client = TcpStream::connect((address, 6379))?;
    client.set_nodelay(true)?;
    let mut replies = BufReader::new(client.try_clone()?);
    let add =
        "*5\r\n$4\r\nXADD\r\n$6\r\nstream\r\n$1\r\n*\r\n$1\r\nm\r\n$16\r\npppppppppppppppp\r\n";
    let messages = add.repeat(BATCH);
    Ok(move || {
        client.write_all(messages.as_bytes())?;
        let mut line = String::new();
        for _ in 0..BATCH {
            // The length of an id, and the id.
            next_line(&mut replies, &mut line)?;
            ensure!(line.starts_with('$'), "{line}");
            next_line(&mut replies, &mut line)?;
        }
        Ok(())
    })
}

/// 64 messages of 16 bytes to NATS, which throws them away, and a PING behind them whose answer says
/// that all have arrived.
fn nats_publish(address: &str) -> Result<()> {
    nats_publish_as("nats64", address)
}

/// The same, with somebody who takes them.
fn nats_deliver(address: &str) -> Result<()> {
    let (mut service, mut taken) = nats_session(address)?;
    write!(service, "SUB subject 1\r\nPING\r\n")?;
    expect(&mut taken, "PONG")?;
    thread::spawn(move || {
        let mut line = String::new();
        while next_line(&mut taken, &mut line).is_ok() {}
    });
    nats_publish_as("nats_deliver64", address)
}

fn nats_publish_as(name: &str, address: &str) -> Result<()> {
    let (mut client, mut replies) = nats_session(address)?;
    let messages = "PUB subject 16\r\npppppppppppppppp\r\n".repeat(BATCH) + "PING\r\n";
    measure(name, || {
        client.write_all(messages.as_bytes())?;
        expect(&mut replies, "PONG")
    })
}
