//! The `Jobs` service.

use std::pin::Pin;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use reelraft_proto::v1::{self, jobs_server::Jobs};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{
        status, wire_event, wire_job, wire_measure, wire_reference, wire_task, wire_task_details,
    },
    convert_outside::{wire_delivery, wire_webhook},
    convert_spec::spec_request,
    convert_upload::{upload_request, wire_reply},
    limits::FETCH_PART_BYTES,
    listener::stream_end,
    places::api_of,
};
use crate::api::{
    Consistency, ListRequest, Output, Page, SubmitRequest, Submitted, TaskRequest, TasksRequest,
};
use crate::data::upload::Order;

/// The `Jobs` service of one node, over what each caller may ask.
#[derive(Clone)]
pub struct JobsService;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The state that answers a read.
pub(super) fn consistency(local: bool) -> Consistency {
    match local {
        true => Consistency::Local,
        false => Consistency::Linearizable,
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type UploadStream = Out<v1::UploadServer>;
    type WatchStream = Out<v1::WatchEvent>;
    type FetchStream = Out<v1::FetchPart>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let api = api_of(&request)?;
        let v1::SubmitRequest {
            tenant,
            request_id,
            spec,
            source_name,
            source_bytes,
            source_fingerprint,
            source_url,
            webhook_url,
            output_url,
            priority,
            max_retries,
            deadline_unix_ms,
        } = request.into_inner();
        let request = SubmitRequest {
            tenant,
            request_id,
            spec: spec_request(spec.unwrap_or_default()),
            source_name,
            source_bytes,
            source_fingerprint,
            source_url,
            webhook_url,
            output_url,
            priority,
            max_retries,
            deadline_unix_ms,
        };
        let Submitted { job, existed } = api.submit(request).await.map_err(status)?;
        Ok(Response::new(v1::SubmitResponse {
            job: Some(wire_job(job)),
            existed,
        }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadClient>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let api = api_of(&request)?;
        let incoming = request.into_inner().map(upload_request);
        let replies = api.upload(incoming, Order::Any).await.map_err(status)?;
        replies.on_stall(stream_end());
        let replies = replies.map_ok(wire_reply).map_err(status);
        Ok(Response::new(Box::pin(replies)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::Job>, Status> {
        let api = api_of(&request)?;
        let v1::GetRequest { job, local } = request.into_inner();
        let view = api.job(&job, consistency(local)).await;
        Ok(Response::new(wire_job(view.map_err(status)?)))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let api = api_of(&request)?;
        let v1::ListRequest {
            tenant,
            page_size,
            page_token,
            local,
            states,
            name,
        } = request.into_inner();
        let request = ListRequest {
            tenant,
            states,
            name,
            page_size,
            page_token,
            consistency: consistency(local),
        };
        let Page {
            items,
            next_page_token,
        } = api.list(request).await.map_err(status)?;
        Ok(Response::new(v1::ListResponse {
            jobs: items.into_iter().map(wire_job).collect(),
            next_page_token,
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let api = api_of(&request)?;
        let id = request.into_inner().job;
        let events = api.watch(&id).await.map_err(status)?;
        events.on_stall(stream_end());
        let events = events.map_ok(wire_event).map_err(status);
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let api = api_of(&request)?;
        let cancelled = api.cancel(&request.into_inner().job).await;
        Ok(Response::new(wire_job(cancelled.map_err(status)?)))
    }

    async fn replan(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let api = api_of(&request)?;
        let planned = api.replan(&request.into_inner().job).await;
        Ok(Response::new(wire_job(planned.map_err(status)?)))
    }

    async fn retry(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let api = api_of(&request)?;
        let retried = api.retry(&request.into_inner().job).await;
        Ok(Response::new(wire_job(retried.map_err(status)?)))
    }

    async fn delete(&self, request: Request<v1::JobRef>) -> Result<Response<v1::Job>, Status> {
        let api = api_of(&request)?;
        let deleted = api.delete(&request.into_inner().job).await;
        Ok(Response::new(wire_job(deleted.map_err(status)?)))
    }

    async fn tasks(
        &self,
        request: Request<v1::TasksRequest>,
    ) -> Result<Response<v1::TasksResponse>, Status> {
        let api = api_of(&request)?;
        let v1::TasksRequest {
            job,
            page_size,
            page_token,
        } = request.into_inner();
        let request = TasksRequest {
            job,
            page_size,
            page_token,
        };
        let Page {
            items,
            next_page_token,
        } = api.tasks(request).await.map_err(status)?;
        Ok(Response::new(v1::TasksResponse {
            tasks: items.iter().map(wire_task).collect(),
            next_page_token,
        }))
    }

    async fn proof(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::ProofResponse>, Status> {
        let api = api_of(&request)?;
        let proof = api.proof(&request.into_inner().job).await;
        let json = proof.map_err(status)?;
        Ok(Response::new(v1::ProofResponse { json }))
    }

    async fn measure(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::MeasureResponse>, Status> {
        let api = api_of(&request)?;
        let measured = api.measure(&request.into_inner().job).await;
        Ok(Response::new(wire_measure(measured.map_err(status)?)))
    }

    async fn measured(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::MeasureResponse>, Status> {
        let api = api_of(&request)?;
        let measured = api.measured(&request.into_inner().job).await;
        Ok(Response::new(wire_measure(measured.map_err(status)?)))
    }

    async fn reference(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::ReferenceResponse>, Status> {
        let api = api_of(&request)?;
        let reference = api.reference(&request.into_inner().job).await;
        Ok(Response::new(wire_reference(reference.map_err(status)?)))
    }

    async fn metadata(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::MetadataResponse>, Status> {
        let api = api_of(&request)?;
        let metadata = api.metadata(&request.into_inner().job).await;
        let json = metadata.map_err(status)?;
        Ok(Response::new(v1::MetadataResponse { json }))
    }

    async fn show_task(
        &self,
        request: Request<v1::TaskRef>,
    ) -> Result<Response<v1::TaskDetails>, Status> {
        let api = api_of(&request)?;
        let v1::TaskRef { job, kind, number } = request.into_inner();
        let request = TaskRequest { job, kind, number };
        let (view, log) = api.task_with_log(&request).await.map_err(status)?;
        Ok(Response::new(wire_task_details(view, log)))
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let api = api_of(&request)?;
        let v1::FetchRequest {
            job,
            offset,
            kind,
            number,
            preview_ms,
        } = request.into_inner();
        let output = match (preview_ms, kind.is_empty()) {
            (1.., _) => {
                let made = api.preview(&job, preview_ms).await;
                made.map(|(output, _)| output)
            }
            (0, true) => api.fetch(&job, offset).await,
            (0, false) => {
                let part = TaskRequest { job, kind, number };
                api.part(&part, offset).await
            }
        };
        let output = output.map_err(status)?;
        output.parts.on_stall(stream_end());
        Ok(Response::new(Box::pin(wire_output(output))))
    }

    async fn deliveries(
        &self,
        request: Request<v1::JobRef>,
    ) -> Result<Response<v1::DeliveriesResponse>, Status> {
        let api = api_of(&request)?;
        let deliveries = api.deliveries(&request.into_inner().job).await;
        let deliveries = deliveries.map_err(status)?;
        let deliveries = deliveries.iter().map(|it| wire_delivery(it, usize::MAX));
        Ok(Response::new(v1::DeliveriesResponse {
            deliveries: deliveries.collect(),
        }))
    }

    async fn set_webhook(
        &self,
        request: Request<v1::SetWebhookRequest>,
    ) -> Result<Response<v1::Webhook>, Status> {
        let api = api_of(&request)?;
        let v1::SetWebhookRequest { tenant, url } = request.into_inner();
        let set = api.set_webhook(&tenant, &url).await;
        Ok(Response::new(wire_webhook(set.map_err(status)?)))
    }

    async fn rotate_webhook(
        &self,
        request: Request<v1::WebhookRef>,
    ) -> Result<Response<v1::Webhook>, Status> {
        let api = api_of(&request)?;
        let rotated = api.rotate_webhook(&request.into_inner().tenant).await;
        Ok(Response::new(wire_webhook(rotated.map_err(status)?)))
    }

    async fn get_webhook(
        &self,
        request: Request<v1::WebhookRef>,
    ) -> Result<Response<v1::Webhook>, Status> {
        let api = api_of(&request)?;
        let webhook = api.webhook(&request.into_inner().tenant).await;
        Ok(Response::new(wire_webhook(webhook.map_err(status)?)))
    }

    async fn remove_webhook(
        &self,
        request: Request<v1::WebhookRef>,
    ) -> Result<Response<v1::RemoveWebhookResponse>, Status> {
        let api = api_of(&request)?;
        let removed = api.remove_webhook(&request.into_inner().tenant).await;
        removed.map_err(status)?;
        Ok(Response::new(v1::RemoveWebhookResponse {}))
    }
}

/// Bytes as messages that a slow line delivers in time: a client takes one that
/// lets itself be waited for as a sign of a node that hangs.
fn in_small_parts(offset: u64, data: Bytes) -> impl Iterator<Item = v1::FetchPart> + Send {
    (0..data.len()).step_by(FETCH_PART_BYTES).map(move |from| {
        let to = data.len().min(from + FETCH_PART_BYTES);
        v1::FetchPart {
            offset: offset + from as u64,
            data: data.slice(from..to),
            ..Default::default()
        }
    })
}

/// The parts of an output. The first says its size and hash, and comes even if
/// there is nothing left to send.
fn wire_output(output: Output) -> impl Stream<Item = Result<v1::FetchPart, Status>> + Send {
    let Output {
        offset,
        total_bytes,
        hash,
        parts,
    } = output;
    let head = v1::FetchPart {
        offset,
        total_bytes,
        hash,
        ..Default::default()
    };
    let mut at = offset;
    let parts = parts.map_err(status).map_ok(move |data| {
        let small = in_small_parts(at, data.clone());
        at += data.len() as u64;
        stream::iter(small.map(Ok))
    });
    stream::iter([Ok(head)]).chain(parts.try_flatten())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use reelraft_model::Problem;

    use super::*;
    use crate::api::{Door, Outgoing, Welcome};

    fn output(parts: Vec<Result<Bytes, Problem>>) -> Output {
        Output {
            offset: 3,
            total_bytes: 10,
            hash: "ab".into(),
            parts: Outgoing::new(
                stream::iter(parts),
                Door::new("downloads", 1).enter(1).unwrap(),
                Welcome::for_good(),
                std::time::Duration::from_secs(60),
            ),
        }
    }

    #[tokio::test]
    async fn an_output_begins_with_its_size_and_hash() {
        let parts = vec![
            Ok(Bytes::from_static(b"abcd")),
            Ok(Bytes::from_static(b"efg")),
        ];
        let sent: Vec<_> = wire_output(output(parts)).try_collect().await.unwrap();
        assert_eq!((sent[0].total_bytes, sent[0].hash.as_str()), (10, "ab"));
        assert!(sent[0].data.is_empty());
        let offsets: Vec<u64> = sent.iter().map(|part| part.offset).collect();
        assert_eq!(offsets, [3, 3, 7]);
        let nothing: Vec<_> = wire_output(output(vec![])).try_collect().await.unwrap();
        assert_eq!(nothing.len(), 1, "the head comes all the same");
    }

    #[tokio::test]
    async fn an_output_that_breaks_off_says_why() {
        let problem = Problem::new("unavailable-bytes", "no home answers", "wait");
        let parts = vec![Ok(Bytes::from_static(b"abcd")), Err(problem)];
        let sent: Vec<_> = wire_output(output(parts)).collect().await;
        let status = sent.last().unwrap().as_ref().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
}
