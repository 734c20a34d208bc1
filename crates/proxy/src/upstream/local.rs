//! One worker's view of a cluster: its balancer and its pools.

use std::{
    cell::RefCell,
    collections::HashSet,
    hash::{Hash as _, Hasher as _},
    net::{Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use super::{
    CheckoutError, Lease,
    connect::Origin,
    key::{Alpn, PoolKey, Wire},
    pool::Pool,
};
use crate::{
    cluster::{Cluster, ClusterShared},
    fast_hash::FastMap,
    worker::Worker,
};

/// One worker's balancer and pools of a cluster.
pub(crate) struct ClusterLocal {
    balancer: RefCell<engine::Balancer>,
    pools: RefCell<FastMap<PoolKey, Rc<Pool>>>,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) cluster: Arc<Cluster>,
    /// None for original destination clusters.
    pub(crate) host: Option<Arc<engine::Host>>,
    pub(crate) address: SocketAddr,
}

/// What a host is chosen by.
pub(crate) struct Destination<'a> {
    /// Where the connection was going, for original destination clusters.
    pub(crate) original: SocketAddr,
    /// For consistent hashing.
    pub(crate) hash: Option<u64>,
    /// Hosts of earlier attempts.
    pub(crate) avoid: &'a [SocketAddr],
    /// How often such a host is replaced by another choice.
    pub(crate) attempts: u32,
}

impl ClusterLocal {
    pub(crate) fn new(shared: Arc<ClusterShared>, random: u64) -> Self {
        let mut balancer = engine::Balancer::new(&shared.config);
        balancer.seed(random);
        Self { balancer: RefCell::new(balancer), pools: RefCell::default() }
    }

    /// Chooses where to go; none: no host may take it.
    pub(crate) fn pick(
        &self,
        worker: &Worker,
        cluster: &Arc<Cluster>,
        wanted: &Destination<'_>,
    ) -> Option<Target> {
        if cluster.shared.config.discovery == xds::Discovery::OriginalDst {
            return Some(Target {
                cluster: Arc::clone(cluster),
                host: None,
                address: wanted.original,
            });
        }
        let mut random = || worker.random();
        let avoid = |host: &engine::Host| {
            address(host).is_none_or(|address| wanted.avoid.contains(&address))
        };
        let mut pick = engine::Pick {
            random: &mut random,
            hash: wanted.hash,
            avoid: &avoid,
            attempts: if wanted.avoid.is_empty() { 0 } else { wanted.attempts },
        };
        let host = self.balancer.borrow_mut().pick(&cluster.engine.hosts, &mut pick)?;
        let address = address(&host)?;
        Some(Target { cluster: Arc::clone(cluster), host: Some(host), address })
    }

    /// A connection for one request. `host` is the request's host, for clusters that ask servers
    /// by it; `alpn` replaces the names of the cluster's TLS.
    pub(crate) async fn checkout(
        &self,
        worker: &Rc<Worker>,
        target: &Target,
        (wire, alpn): (Wire, Option<Alpn>),
        host: &str,
    ) -> Result<Lease, CheckoutError> {
        let (index, transport) = target.cluster.transport(target.host.as_deref());
        let tls = transport.tls.as_ref();
        let key = PoolKey {
            address: target.address,
            transport: index,
            wire,
            alpn: alpn.filter(|_| tls.is_some()),
            host: tls.filter(|tls| tls.by_host()).map(|_| host.to_owned()),
        };
        let pool = self.pool(worker, target, key);
        pool.checkout().await
    }

    fn pool(&self, worker: &Rc<Worker>, target: &Target, key: PoolKey) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(&key) {
            return Rc::clone(pool);
        }
        let origin = Origin {
            cluster: Arc::clone(&target.cluster),
            host: target.host.clone(),
            key: key.clone(),
        };
        let pool = Pool::new(Rc::downgrade(worker), origin);
        pools.insert(key, Rc::clone(&pool));
        pool
    }

    /// Closes what has been idle for too long, and forgets pools of hosts that are gone.
    pub(crate) fn sweep(&self, cluster: &Cluster) {
        let live: HashSet<SocketAddr> =
            cluster.engine.hosts.hosts().filter_map(|host| address(host)).collect();
        let original = cluster.shared.config.discovery == xds::Discovery::OriginalDst;
        self.pools.borrow_mut().retain(|key, pool| {
            pool.close_old();
            if !original && !live.contains(&key.address) {
                pool.close_idle();
            }
            pool.is_busy()
        });
    }

    /// Closes all that is idle.
    pub(crate) fn close_idle(&self) {
        for pool in self.pools.borrow().values() {
            pool.close_idle();
        }
    }
}

/// Where a host is; none for a name that is not resolved. A Unix socket is told from others by an
/// address of the discard prefix (RFC 6666) with a hash of its path, to which nobody connects.
fn address(host: &engine::Host) -> Option<SocketAddr> {
    match &host.endpoint.address {
        xds::Address::Socket { ip, port } => Some(SocketAddr::new(*ip, *port)),
        xds::Address::Pipe(path) => {
            let mut hasher = std::hash::DefaultHasher::new();
            path.hash(&mut hasher);
            let discard = 0x0100_u128 << 112;
            let ip = Ipv6Addr::from(discard | u128::from(hasher.finish()));
            Some(SocketAddr::new(ip.into(), 0))
        }
        xds::Address::Hostname { .. } => None,
    }
}
