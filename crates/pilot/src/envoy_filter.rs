//! EnvoyFilter: which patches are for which proxy, in which order, ready to be applied to what is
//! encoded. What cannot be applied anywhere is told when the world is taken apart.

use std::{collections::BTreeMap, sync::Arc};

use config::{
    Diagnostic, EnvoyFilter,
    networking::{
        self, EnvoyConfigObjectPatch, EnvoyFilterMatch, EnvoyRouteAction, PatchOperation,
    },
};
use regex::Regex;
use xds::{
    Value,
    patch::{
        ApplyTo, ClusterMatch, FilterChainSelector, FilterClass, ListenerMatch, Match, Operation,
        Patch, PatchContext, Patches, RouteConfigurationMatch, RouteSelector, VirtualHostMatch,
    },
};

use crate::{Proxy, PushContext, World, listener::target_ports, world::Item};

/// All EnvoyFilters, in the order of application.
#[derive(Debug)]
pub(crate) struct EnvoyFilters(Vec<Compiled>);

/// One EnvoyFilter with its patches.
#[derive(Debug)]
struct Compiled {
    item: Arc<Item<EnvoyFilter>>,
    patches: Vec<(Condition, Arc<Patch>)>,
}

/// What a patch asks of the proxy.
#[derive(Debug, Default)]
struct Condition {
    version: Option<Regex>,
    metadata: BTreeMap<String, String>,
}

impl EnvoyFilters {
    /// Compiles the patches of a world, and says which of them are none.
    pub(crate) fn new(world: &World) -> (Self, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let root = world.root_namespace();
        let mut items = world.envoy_filters.clone();
        // Stable: what is equal here stays oldest first.
        items.sort_by_key(|item| (item.spec.priority, item.meta.namespace != root));
        let compiled = items.into_iter().map(|item| {
            let mut patches = Vec::new();
            for (index, patch) in item.spec.config_patches.iter().enumerate() {
                match compile(&item, index, patch) {
                    Ok(Some(patch)) => patches.push(patch),
                    Ok(None) => {}
                    Err(finding) => findings.push(*finding),
                }
            }
            Compiled { item, patches }
        });
        (Self(compiled.collect()), findings)
    }

    /// The patches for a proxy.
    pub(crate) fn patches(&self, push: &PushContext, proxy: &Proxy) -> Patches {
        let root = push.world.root_namespace();
        let selected = self.0.iter().filter(|filter| selects(&filter.item, proxy, root));
        let patches: Vec<Arc<Patch>> = selected
            .flat_map(|filter| &filter.patches)
            .filter(|(condition, patch)| condition.holds(proxy) && is_for(patch.context, proxy))
            .map(|(_, patch)| Arc::clone(patch))
            .collect();
        if patches.is_empty() {
            return Patches::default();
        }
        let mut inbound: BTreeMap<u16, Vec<(String, u16)>> = BTreeMap::new();
        if !proxy.is_router() {
            for (target, service, port) in target_ports(&push.world, proxy) {
                let services = inbound.entry(target).or_default();
                services.push((service.hostname.clone(), port.port));
            }
        }
        // Mizzen's own proxy refuses what it does not know; a stock Envoy knows far more.
        let must_decode = proxy.user_agent == "mizzen";
        Patches { patches, gateway: proxy.is_router(), inbound, must_decode }
    }
}

/// Whether an EnvoyFilter is for a proxy.
fn selects(item: &Item<EnvoyFilter>, proxy: &Proxy, root: &str) -> bool {
    let namespace = item.meta.namespace.as_str();
    let selector = item.spec.workload_selector.as_ref();
    item.spec.target_refs.is_empty()
        && (namespace == proxy.namespace || namespace == root)
        && selector.is_none_or(|selector| selector.matches(&proxy.labels))
}

fn is_for(context: PatchContext, proxy: &Proxy) -> bool {
    match context {
        PatchContext::Any => true,
        PatchContext::Gateway => proxy.is_router(),
        PatchContext::SidecarInbound | PatchContext::SidecarOutbound => !proxy.is_router(),
    }
}

impl Condition {
    fn new(matches: &EnvoyFilterMatch) -> Result<Self, String> {
        let Some(proxy) = &matches.proxy else { return Ok(Self::default()) };
        let version = match proxy.proxy_version.as_str() {
            "" => None,
            text => Some(Regex::new(text).map_err(|error| error.to_string())?),
        };
        Ok(Self { version, metadata: proxy.metadata.clone() })
    }

    fn holds(&self, proxy: &Proxy) -> bool {
        let said = |key: &str| proxy.metadata.get(key).and_then(Value::as_str);
        let version = self
            .version
            .as_ref()
            .is_none_or(|version| said("ISTIO_VERSION").is_some_and(|text| version.is_match(text)));
        version && self.metadata.iter().all(|(key, value)| said(key) == Some(value))
    }
}

/// A patch that is ready; none for one that was already told to have no effect.
fn compile(
    item: &Item<EnvoyFilter>,
    index: usize,
    patch: &EnvoyConfigObjectPatch,
) -> Result<Option<(Condition, Arc<Patch>)>, Box<Diagnostic>> {
    let field = format!("spec.configPatches[{index}]");
    let refuse = |inner: &str, reason: String| {
        let message = format!("{reason}: the patch is passed over, the others are applied");
        Box::new(item.warning_at("bad-patch", &format!("{field}.{inner}"), message))
    };
    let (Some(apply_to), Some(operation), Some(context)) = (
        apply_to(patch.apply_to),
        operation(patch.patch.operation),
        context(patch.matches.context),
    ) else {
        return Ok(None);
    };
    let condition = Condition::new(&patch.matches)
        .map_err(|reason| refuse("match.proxy.proxyVersion", reason))?;
    let mut compiled = Patch::new(apply_to, operation, patch.patch.value.as_ref())
        .map_err(|reason| refuse("patch.value", reason))?;
    compiled.context = context;
    compiled.matches = matches(&patch.matches);
    compiled.class = class(patch.patch.filter_class);
    compiled.owner = Arc::from(item.qualified_name());
    let (line, _) = item.object.place(&field);
    compiled.title =
        format!("{}:{line}: EnvoyFilter {}: {field}", item.origin.file, item.qualified_name());
    Ok(Some((condition, Arc::new(compiled))))
}

fn apply_to(value: networking::ApplyTo) -> Option<ApplyTo> {
    Some(match value {
        networking::ApplyTo::Listener => ApplyTo::Listener,
        networking::ApplyTo::FilterChain => ApplyTo::FilterChain,
        networking::ApplyTo::NetworkFilter => ApplyTo::NetworkFilter,
        networking::ApplyTo::HttpFilter => ApplyTo::HttpFilter,
        networking::ApplyTo::ListenerFilter => ApplyTo::ListenerFilter,
        networking::ApplyTo::RouteConfiguration => ApplyTo::RouteConfiguration,
        networking::ApplyTo::VirtualHost => ApplyTo::VirtualHost,
        networking::ApplyTo::HttpRoute => ApplyTo::HttpRoute,
        networking::ApplyTo::Cluster => ApplyTo::Cluster,
        networking::ApplyTo::Invalid
        | networking::ApplyTo::Bootstrap
        | networking::ApplyTo::ExtensionConfig => return None,
    })
}

fn operation(value: PatchOperation) -> Option<Operation> {
    Some(match value {
        PatchOperation::Merge => Operation::Merge,
        PatchOperation::MergeAndReplaceList => Operation::MergeAndReplaceList,
        PatchOperation::Add => Operation::Add,
        PatchOperation::Remove => Operation::Remove,
        PatchOperation::InsertBefore => Operation::InsertBefore,
        PatchOperation::InsertAfter => Operation::InsertAfter,
        PatchOperation::InsertFirst => Operation::InsertFirst,
        PatchOperation::Replace => Operation::Replace,
        PatchOperation::Invalid => return None,
    })
}

fn context(value: networking::PatchContext) -> Option<PatchContext> {
    Some(match value {
        networking::PatchContext::Any => PatchContext::Any,
        networking::PatchContext::SidecarInbound => PatchContext::SidecarInbound,
        networking::PatchContext::SidecarOutbound => PatchContext::SidecarOutbound,
        networking::PatchContext::Gateway => PatchContext::Gateway,
        networking::PatchContext::Waypoint => return None,
    })
}

fn class(value: networking::FilterClass) -> FilterClass {
    match value {
        networking::FilterClass::Unspecified => FilterClass::Unspecified,
        networking::FilterClass::Authn => FilterClass::Authn,
        networking::FilterClass::Authz => FilterClass::Authz,
        networking::FilterClass::Stats => FilterClass::Stats,
    }
}

fn matches(given: &EnvoyFilterMatch) -> Match {
    Match {
        listener: given.listener.as_ref().map(|listener| ListenerMatch {
            name: listener.name.clone(),
            port: listener.port_number,
            listener_filter: listener.listener_filter.clone(),
            filter_chain: listener.filter_chain.as_ref().map(filter_chain),
        }),
        route_configuration: given.route_configuration.as_ref().map(|routes| {
            RouteConfigurationMatch {
                name: routes.name.clone(),
                port: routes.port_number,
                port_name: routes.port_name.clone(),
                gateway: routes.gateway.clone(),
                virtual_host: routes.vhost.as_ref().map(virtual_host),
            }
        }),
        cluster: given.cluster.as_ref().map(|cluster| ClusterMatch {
            name: cluster.name.clone(),
            port: cluster.port_number,
            service: cluster.service.clone(),
            subset: cluster.subset.clone(),
        }),
    }
}

fn filter_chain(chain: &networking::EnvoyFilterChainMatch) -> FilterChainSelector {
    let filter = chain.filter.as_ref();
    let sub_filter = filter.and_then(|filter| filter.sub_filter.as_ref());
    let protocols = chain.application_protocols.split(',').map(str::trim);
    FilterChainSelector {
        name: chain.name.clone(),
        sni: chain.sni.clone(),
        transport_protocol: chain.transport_protocol.clone(),
        application_protocols: protocols
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        destination_port: chain.destination_port,
        filter: filter.map(|filter| filter.name.clone()).unwrap_or_default(),
        sub_filter: sub_filter.map(|filter| filter.name.clone()).unwrap_or_default(),
    }
}

fn virtual_host(host: &networking::EnvoyVirtualHostMatch) -> VirtualHostMatch {
    VirtualHostMatch {
        name: host.name.clone(),
        domain_name: host.domain_name.clone(),
        route: host.route.as_ref().map(|route| RouteSelector {
            name: route.name.clone(),
            action: match route.action {
                EnvoyRouteAction::Any => "",
                EnvoyRouteAction::Route => "route",
                EnvoyRouteAction::Redirect => "redirect",
                EnvoyRouteAction::DirectResponse => "direct_response",
            },
        }),
    }
}
