// SPDX-License-Identifier: GPL-2.0
//! One page of HTML that needs nothing else: no network, no script.

use crate::{
    packet::{EndpointId, Transfer},
    periods::periods,
    traffic::{CaptureSummary, EndpointTraffic},
};
use std::{fmt::Write, time::Duration};

const STYLE: &str = "body{font:14px sans-serif;margin:2em;max-width:70em;color:#222}\
h2{margin-top:2em;border-bottom:1px solid #ccc}table{border-collapse:collapse;margin:1em 0}\
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #eee}td:first-child,th:first-child{text-align:left}\
code{background:#f4f4f4;padding:0 .3em}.bad{color:#b00;font-weight:bold}svg{background:#fafafa}\
rect{fill:#4477aa}";

/// The page. All that comes from devices is numbers and hexadecimal digits.
pub fn page(traffic: &mut CaptureSummary, title: &str) -> String {
    let mut html = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut html, traffic, title);
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn write_page(html: &mut String, traffic: &mut CaptureSummary, title: &str) -> std::fmt::Result {
    let title = escape(title);
    write!(
        html,
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>"
    )?;
    let (first, last) = traffic.span.unwrap_or_default();
    let seconds = (last - first).as_secs_f64();
    write!(
        html,
        "<p>{} packets in {seconds:.1} s, {} lost",
        traffic.packets, traffic.lost
    )?;
    if traffic.unreadable > 0 {
        write!(html, ", {} could not be read", traffic.unreadable)?;
    }
    write!(html, ".</p>")?;
    write_findings(html, traffic)?;
    write!(
        html,
        "<h2>Devices</h2><table><tr><th>device<th>id<th>interfaces<th>keystrokes"
    )?;
    for ((bus, device), seen) in &traffic.devices {
        let id = seen.descriptor.map_or("?".to_owned(), |d| {
            format!("{:04x}:{:04x}", d.vendor, d.product)
        });
        let class = |i: &crate::descriptors::InterfaceDescriptor| {
            format!("{:02x}/{:02x}/{:02x}", i.class.0, i.class.1, i.class.2)
        };
        let classes: Vec<_> = seen.interfaces().iter().map(class).collect();
        write!(
            html,
            "<tr><td>{bus}.{device}<td>{id}<td>{}<td>{}",
            classes.join(" "),
            seen.typing.keystrokes()
        )?;
    }
    write!(html, "</table>")?;
    for (id, endpoint) in traffic.endpoints.iter_mut() {
        write_endpoint(html, id, endpoint, seconds)?;
    }
    write!(html, "</html>")
}

fn write_findings(html: &mut String, traffic: &CaptureSummary) -> std::fmt::Result {
    let findings = traffic.findings();
    if findings.is_empty() {
        return write!(html, "<p id=\"findings\">Nothing unusual was found.</p>");
    }
    write!(html, "<ul id=\"findings\">")?;
    for finding in findings {
        write!(html, "<li class=\"bad\">{finding}.")?;
    }
    write!(html, "</ul>")
}

fn write_endpoint(
    html: &mut String,
    id: EndpointId,
    endpoint: &mut EndpointTraffic,
    seconds: f64,
) -> std::fmt::Result {
    let counters = &endpoint.counters;
    let transfer = match counters.transfer {
        Transfer::Isochronous => "isochronous",
        Transfer::Interrupt => "interrupt",
        Transfer::Control => "control",
        Transfer::Bulk => "bulk",
    };
    write!(
        html,
        "<h2>Endpoint {id}, {transfer}</h2><p>{} packets, {} failed, {} bytes, {:.0} bytes/s.",
        counters.packets,
        counters.failed,
        counters.bytes,
        counters.bytes as f64 / seconds.max(1e-3)
    )?;
    if counters.bytes == 0 {
        return Ok(());
    }
    write!(
        html,
        " Entropy {:.2} bits a byte. Different bytes: {} (HyperLogLog: {:.1}), pairs: {} ({:.1}).</p>",
        counters.entropy(),
        endpoint.distinct_bytes.exact(),
        endpoint.distinct_bytes.estimate(),
        endpoint.distinct_pairs.exact(),
        endpoint.distinct_pairs.estimate(),
    )?;
    write_histogram(html, &counters.histogram)?;
    write!(html, "<table><tr><th>sequence<th>seen")?;
    for sequences in &endpoint.sequences {
        for frequent in sequences.top(3) {
            let hex: String = frequent.bytes.iter().map(|b| format!("{b:02x} ")).collect();
            write!(
                html,
                "<tr><td><code>{}</code><td>{}",
                hex.trim(),
                frequent.count
            )?;
            if frequent.error > 0 {
                write!(html, " (at most {} too many)", frequent.error)?;
            }
        }
    }
    write!(html, "</table>")?;
    let found = periods(&endpoint.times, Duration::from_millis(1), 3);
    let strong: Vec<_> = found.iter().filter(|p| p.share > 0.02).collect();
    if !strong.is_empty() {
        write!(html, "<p>Periods:")?;
        for period in strong {
            write!(
                html,
                " {:.1} ms ({:.0} %)",
                period.seconds * 1e3,
                period.share * 100.0
            )?;
        }
        write!(html, "</p>")?;
    }
    Ok(())
}

/// A bar for each byte, on a scale of square roots, so that rare ones can be seen.
fn write_histogram(html: &mut String, histogram: &[u64; 256]) -> std::fmt::Result {
    let most = histogram.iter().copied().max().unwrap_or(0).max(1) as f64;
    write!(
        html,
        "<svg width=\"768\" height=\"110\" role=\"img\" aria-label=\"byte histogram\">"
    )?;
    for (byte, &count) in histogram
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0)
    {
        let height = (count as f64 / most).sqrt() * 100.0;
        write!(
            html,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"2\" height=\"{height:.1}\"><title>{byte:02x}: {count}</title></rect>",
            byte * 3,
            105.0 - height
        )?;
    }
    write!(html, "</svg>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packet::tests::bulk, record::CaptureRecord};

    #[test]
    fn a_page_needs_nothing_else() {
        let mut traffic = CaptureSummary::default();
        for n in 0..100 {
            traffic.add(&CaptureRecord {
                lost: u32::from(n == 50),
                packet: bulk('C', 0x82, n * 10_000, b"hello <world>"),
            });
        }
        let page = page(&mut traffic, "capture <1>");
        assert!(page.contains("100 packets in 1.0 s, 1 lost"), "{page}");
        assert!(page.contains("Endpoint 1.3.2 in, bulk"));
        assert!(page.contains("capture &lt;1&gt;"));
        assert!(page.contains("Different bytes: 10"));
        for outside in ["http:", "https:", "<script", "src=", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
