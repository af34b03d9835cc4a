// SPDX-License-Identifier: GPL-2.0
//! OpenTelemetry's protocol, its JSON encoding of traces: one span for each call and each request.

use crate::{
    event::{Event, EventId},
    graph::Graph,
    span::{Span, spans},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Kinds of a span, as the protocol numbers them.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// Status of a span.
const OK: u8 = 1;
const ERROR: u8 = 2;

/// All spans, as an `ExportTraceServiceRequest`: a resource a node.
pub fn otlp(graph: &Graph) -> Value {
    let spans = spans(graph);
    let parents: HashMap<EventId, Option<EventId>> = spans
        .iter()
        .map(|span| (span.begin.id, span.parent))
        .collect();
    let mut by_node: BTreeMap<u8, Vec<Value>> = BTreeMap::new();
    for span in &spans {
        let json = json_span(span, root(span.begin.id, &parents));
        by_node.entry(span.begin.id.node).or_default().push(json);
    }
    let resources: Vec<_> = by_node
        .into_iter()
        .map(|(node, spans)| {
            json!({
                "resource": { "attributes": [
                    text("service.name", "virgo"),
                    text("host.name", &format!("node{node}")),
                ] },
                "scopeSpans": [{ "scope": { "name": "virgo.eventnet" }, "spans": spans }],
            })
        })
        .collect();
    json!({ "resourceSpans": resources })
}

/// The outermost span that `id` lies in.
fn root(mut id: EventId, parents: &HashMap<EventId, Option<EventId>>) -> EventId {
    for _ in 0..=parents.len() {
        match parents.get(&id) {
            Some(Some(parent)) => id = *parent,
            _ => break,
        }
    }
    id
}

fn json_span(span: &Span<'_>, root: EventId) -> Value {
    let Span { begin, end, parent } = *span;
    let kind = match begin.point.as_str() {
        "receive" => SERVER,
        "send" => CLIENT,
        _ => INTERNAL,
    };
    let mut json = json!({
        "traceId": format!("{:016x}{:016x}", root.node, root.seq),
        "spanId": span_id(begin.id),
        "name": name(begin),
        "kind": kind,
        // Numbers of 64 bits are strings in the protocol's JSON.
        "startTimeUnixNano": begin.wall_ns.to_string(),
        "endTimeUnixNano": (begin.wall_ns + span.nanos()).to_string(),
        "attributes": [
            text("virgo.begin", &begin.id.to_string()),
            text("virgo.end", &end.id.to_string()),
            text("virgo.about", &format!("{:016x}", begin.about)),
            number("virgo.op", begin.op.into()),
            number("virgo.bytes", end.bytes.max(begin.bytes).into()),
        ],
        "status": match end.status {
            0 => json!({ "code": OK }),
            status => json!({
                "code": ERROR,
                "message": virgo_proto::errno::Errno::from_wire(status).name(),
            }),
        },
    });
    if let Some(parent) = parent {
        json["parentSpanId"] = span_id(parent).into();
    }
    json
}

/// 8 bytes that are not zero: the numbers of a node's events stay below 2⁵⁶ for a thousand years.
fn span_id(id: EventId) -> String {
    format!("{:02x}{:014x}", id.node, id.seq & 0xff_ffff_ffff_ffff)
}

fn name(event: &Event) -> String {
    match event.peer {
        0 => event.kind.clone(),
        peer => format!("{} node{peer}", event.kind),
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
