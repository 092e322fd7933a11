//! Tenants: what each has, and how much it may have.

use reelraft_model::{
    Command, Problem, Quota, Scope, SetQuota, State, TenantCount,
    limits::{JOBS_MAX, QUOTAS_MAX, UPLOADING_MAX},
};

use super::{Api, Consistency, bad_request, keys::check_name, limits::REQUESTS_PER_SECOND_MAX};

/// What a tenant has, and may have.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantView {
    pub used: TenantCount,
    /// With the defaults where it has none of its own.
    pub quota: Quota,
}

impl TenantView {
    fn new(state: &State, tenant: &str) -> Self {
        let quota = state.quota(tenant);
        TenantView {
            used: state.used_by(tenant),
            quota: Quota {
                jobs: quota.jobs.or(Some(JOBS_MAX)),
                uploads: quota.uploads.or(Some(UPLOADING_MAX)),
                ..quota
            },
        }
    }
}

impl Api {
    /// What a tenant has, and may have.
    ///
    /// # Errors
    /// `forbidden` for another's, `bad-request`, and what keeps the cluster from
    /// reading.
    pub async fn show_tenant(&self, tenant: &str) -> Result<TenantView, Problem> {
        check_name("tenant", tenant)?;
        let tenant = self.tenant(Scope::Read, tenant)?;
        let seen = self.seen(Scope::Read, Consistency::Linearizable).await?;
        Ok(TenantView::new(seen.whole(), tenant))
    }

    /// Changes what is set here of a tenant's quota; `reset` gives back before
    /// what was set earlier.
    ///
    /// # Errors
    /// `forbidden` to all but the operator, `bad-request`, `too-many-quotas`, those
    /// of [`Api::change_access`], and what keeps the cluster from writing.
    pub async fn set_quota(&self, change: Quota, reset: bool) -> Result<TenantView, Problem> {
        self.operator_only()?;
        let tenant = change.tenant.clone();
        check_name("tenant", &tenant)?;
        let rates = 1..=REQUESTS_PER_SECOND_MAX;
        let rate = change.requests_per_second;
        if rate.is_some_and(|rate| !rates.contains(&rate)) {
            return Err(bad_request(
                format!("a rate that is not from 1 to {REQUESTS_PER_SECOND_MAX} a second"),
                "revoke the tenant's keys to keep it out, or reset its quota to let it ask freely",
            ));
        }
        let command = |state: &State| {
            let base = match reset {
                true => Quota::none(&tenant),
                false => state.quota(&tenant),
            };
            Command::SetQuota(SetQuota {
                quota: Quota {
                    jobs: change.jobs.or(base.jobs),
                    bytes: change.bytes.or(base.bytes),
                    uploads: change.uploads.or(base.uploads),
                    requests_per_second: change.requests_per_second.or(base.requests_per_second),
                    tenant: base.tenant,
                },
                epoch: state.access_epoch(),
                quotas_max: QUOTAS_MAX,
            })
        };
        let state = self.change_access(&tenant, command).await?;
        Ok(TenantView::new(&state, &tenant))
    }
}
