//! The table of names for the agent's DNS proxy.

use pb::istio::networking::nds::v1::{self as nds, name_table};

use super::context::{Context, Result};
use crate::{NameInfo, NameTable};

pub(super) fn encode(value: &NameTable) -> nds::NameTable {
    let table = value.table.iter().map(|(name, info)| {
        let info = name_table::NameInfo {
            ips: info.ips.iter().map(ToString::to_string).collect(),
            registry: info.registry.clone(),
            shortname: info.short_name.clone(),
            namespace: info.namespace.clone(),
        };
        (name.clone(), info)
    });
    nds::NameTable { table: table.collect() }
}

pub(super) fn decode(message: nds::NameTable, cx: &mut Context) -> Result<NameTable> {
    let nds::NameTable { table } = message;
    let table = cx.at("table", |cx| {
        let entries = table.into_iter();
        entries
            .map(|(name, info)| {
                let info = cx.key(&name, |cx| decode_info(info, cx))?;
                Ok((name, info))
            })
            .collect()
    })?;
    Ok(NameTable { table })
}

fn decode_info(message: name_table::NameInfo, cx: &mut Context) -> Result<NameInfo> {
    let name_table::NameInfo { ips, registry, shortname, namespace } = message;
    let ips = cx.each("ips", ips, |ip, cx| {
        ip.parse().or_else(|_| cx.fail(format!("{ip:?} is not an IP address")))
    })?;
    Ok(NameInfo { ips, registry, short_name: shortname, namespace })
}
