// SPDX-License-Identifier: GPL-2.0
//! What is exported is what other tools read, by their published formats.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use regex::Regex;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use virgo_eventnet::{Event, Graph, export, read_json, write_json};

/// A call of node 1 to node 2 that fails, and a word of node 3, as a node would record them.
const RUN: &str = r#"
{"id":"1:101","kind":"memory","point":"call","op":3,"stamp":117000000000000000,"wall_ns":1785278320312500000,"mono_ns":5000,"about":255,"clock":[101]}
{"id":"1:102","cause":"1:101","kind":"memory","point":"send","op":3,"peer":2,"bytes":32,"stamp":117000000000100000,"wall_ns":1785278320312510000,"mono_ns":15000,"clock":[102]}
{"id":"2:77","cause":"1:102","kind":"memory","point":"receive","op":3,"peer":1,"stamp":117000000000200000,"wall_ns":1785278320312530000,"mono_ns":900000,"clock":[102,77]}
{"id":"2:78","cause":"2:77","begin":"2:77","kind":"memory","point":"reply","op":3,"peer":1,"status":116,"stamp":117000000000300000,"wall_ns":1785278320312540000,"mono_ns":910000,"clock":[102,78]}
{"id":"1:103","cause":"2:78","begin":"1:102","kind":"memory","point":"done","op":3,"peer":2,"status":116,"stamp":117000000000400000,"wall_ns":1785278320312560000,"mono_ns":65000,"clock":[103,78]}
{"id":"1:104","cause":"1:103","begin":"1:101","kind":"memory","point":"return","op":3,"status":116,"stamp":117000000000500000,"wall_ns":1785278320312570000,"mono_ns":75000,"clock":[104,78]}
{"id":"3:9","kind":"log","point":"local","stamp":117000000000250000,"wall_ns":1785278320312535000,"mono_ns":1,"clock":[0,0,9],"text":"something \"odd\"\n"}
"#;

fn graph() -> Graph {
    let graph = Graph::new(read_json(RUN.as_bytes()).expect("events"));
    assert_eq!(graph.faults(), []);
    graph
}

#[test]
fn json_comes_back() {
    let graph = graph();
    let mut written = Vec::new();
    write_json(graph.events(), &mut written).expect("memory");
    let read: Vec<Event> = read_json(&written[..]).expect("events");
    assert_eq!(read, graph.events());
    let bad = read_json(&br#"{"id":"1:1"}"#[..]).expect_err("fields are missing");
    assert!(bad.to_string().starts_with("line 1: "), "{bad}");
}

#[test]
fn perfetto_follows_the_trace_event_format() {
    let schema: Value =
        serde_json::from_str(include_str!("trace_event_format.json")).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let trace = export::perfetto(&graph());
    let errors: Vec<_> = schema
        .iter_errors(&trace)
        .map(|e| format!("{e} at {}", e.instance_path))
        .collect();
    assert_eq!(errors, [""; 0]);
    let events = trace["traceEvents"].as_array().expect("an array");
    let count = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
    // A call, its request, the work; the word of node 3; two messages; three nodes.
    assert_eq!(["X", "i", "s", "f", "M"].map(count), [3, 1, 2, 2, 3]);
    // The test can fail.
    let mut broken = trace.clone();
    let span = broken["traceEvents"].as_array_mut().expect("an array");
    let span = span
        .iter_mut()
        .find(|event| event["ph"] == "X")
        .expect("a span");
    span.as_object_mut().expect("an object").remove("dur");
    assert!(!schema.is_valid(&broken));
}

#[test]
fn otlp_is_what_opentelemetry_reads() {
    let json = export::otlp(&graph());
    let request: ExportTraceServiceRequest =
        serde_json::from_value(json).expect("the protocol's message");
    let mut ids = HashSet::new();
    let mut spans = Vec::new();
    for resource in &request.resource_spans {
        for span in &resource.scope_spans[0].spans {
            assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            ids.insert(span.span_id.clone());
            spans.push(span);
        }
    }
    assert_eq!(spans.len(), 3);
    let with_parent = spans.iter().filter(|span| !span.parent_span_id.is_empty());
    assert!(
        with_parent
            .clone()
            .all(|span| ids.contains(&span.parent_span_id))
    );
    assert_eq!(with_parent.count(), 2);
    let traces: HashSet<_> = spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 1);
    let failed = spans.iter().filter_map(|span| span.status.as_ref());
    assert!(
        failed
            .clone()
            .all(|status| status.code == 2 && status.message == "ESTALE")
    );
    assert_eq!(failed.count(), 3);
}

/// The expression that ShiViz begins with, and its rule that a host counts its own events from 1.
#[test]
fn shiviz_parses_the_log() {
    let log = export::shiviz(&graph());
    let expression = Regex::new(r"(?<event>.*)\n(?<host>\S*) (?<clock>\{.*\})").expect("a regex");
    let mut own: HashMap<String, u64> = HashMap::new();
    let mut parsed = 0;
    for found in expression.captures_iter(&log) {
        let host = found["host"].to_owned();
        let clock: HashMap<String, u64> = serde_json::from_str(&found["clock"]).expect("JSON");
        let count = own.entry(host.clone()).or_default();
        *count += 1;
        assert_eq!(clock[&host], *count);
        parsed += 1;
    }
    assert_eq!(parsed, 7);
    assert_eq!(log.lines().count(), 14);
}
