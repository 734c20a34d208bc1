use std::fmt::Write as _;

use super::*;

fn assigned(yaml: &str) -> BTreeMap<(String, String), Ipv4Addr> {
    let parsed = crate::parse_file("f", yaml);
    assert!(!parsed.has_errors(), "{:#?}", parsed.diagnostics);
    assign_entry_ips(parsed.objects.iter().map(AsRef::as_ref))
}

fn entry(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, \
         namespace: shop{metadata}}}\nspec: {{ports: [{{number: 80, name: http, protocol: HTTP}}], \
         {spec}}}\n"
    )
}

#[test]
fn who_gets_one() {
    let yaml = entry("dns", "", "hosts: [A.example, b.example], resolution: DNS")
        + &entry("none", "", "hosts: [c.example], resolution: NONE")
        + &entry("own", "", "hosts: [d.example], addresses: [240.240.3.4], resolution: DNS")
        + &entry(
            "wild",
            "",
            "hosts: ['*.e.example'], resolution: STATIC, endpoints: [{address: 1.2.3.4}]",
        )
        + &entry(
            "out",
            ", labels: {networking.istio.io/enable-autoallocate-ip: 'false'}",
            "hosts: [f.example], resolution: DNS",
        );
    let assigned = assigned(&yaml);
    let hosts: Vec<&str> = assigned.keys().map(|(_, host)| host.as_str()).collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
    for address in assigned.values() {
        assert_eq!(address.octets()[..2], [240, 240]);
        assert!(!matches!(address.octets()[3], 0 | 255));
    }
}

#[test]
fn the_same_whatever_else_there_is() {
    let one = entry("x", "", "hosts: [api.example], resolution: DNS");
    let mut many = String::new();
    for number in 0..300 {
        let _infallible = write!(
            many,
            "{}",
            entry(
                &format!("y{number}"),
                "",
                &format!("hosts: [z{number}.example], resolution: DNS")
            )
        );
    }
    let alone = assigned(&one);
    let among = assigned(&(many + &one));
    let distinct: BTreeSet<&Ipv4Addr> = among.values().collect();
    assert_eq!(distinct.len(), 301);
    let key = ("shop".to_owned(), "api.example".to_owned());
    // "api.example" sorts before all others, so that a collision cannot move it.
    assert_eq!(alone[&key], among[&key]);
}
