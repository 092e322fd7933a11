//! An upload in parts that was begun before, by this node or by another: what of it is
//! there, how it goes on, and how it is given up.

use reelraft_model::BucketUpload;
use reqwest::{Method, Url};

use super::{
    client::Outside,
    limits::BUCKET_PARTS_LISTED,
    s3_parts::{BucketError, Left, PartedUpload, again, ask, text_of},
    s3_sign::Subject,
    s3_text::{element, unescaped},
};

/// What became of an upload.
pub enum Resumed {
    /// It goes on behind the parts that are there.
    Open(Box<PartedUpload>),
    /// The file has its name.
    Done,
    /// Its server does not know it any more, or makes no sense of it.
    Gone,
}

impl PartedUpload {
    /// What another needs to know to go on with it.
    pub fn known(&self, part_bytes: u64) -> BucketUpload {
        BucketUpload {
            id: self.id.clone(),
            part_bytes,
            replaces: self.before.clone().unwrap_or_default(),
        }
    }

    /// Goes on with one that puts a file of so many bytes over whatever has its name.
    ///
    /// # Errors
    /// [`BucketError`], once it was asked a few times.
    pub async fn resume(
        outside: &Outside,
        url: &Url,
        known: &BucketUpload,
        bytes: u64,
    ) -> Result<Resumed, BucketError> {
        let mut upload = PartedUpload::of(outside, url, known);
        match upload.find_parts(known.part_bytes.max(1), bytes).await {
            Ok(()) => Ok(Resumed::Open(Box::new(upload))),
            Err(error) if error.is_no_upload() => {
                upload.bytes = bytes;
                match upload
                    .has_name(bytes.div_ceil(known.part_bytes.max(1)))
                    .await?
                {
                    true => Ok(Resumed::Done),
                    false => Ok(Resumed::Gone),
                }
            }
            // Who may put may have no leave to look, and puts all of it again then.
            Err(error) if error.may_not_look() => {
                let upload = PartedUpload::of(outside, url, known);
                Ok(Resumed::Open(Box::new(upload)))
            }
            // It would be so each time.
            Err(error) if error.lasts() => {
                tracing::warn!(%error, "an upload can't be gone on with, and is begun anew");
                Ok(Resumed::Gone)
            }
            Err(error) => Err(error),
        }
    }

    fn of(outside: &Outside, url: &Url, known: &BucketUpload) -> Self {
        let replaces = known.replaces.clone();
        PartedUpload {
            outside: outside.clone(),
            url: url.clone(),
            id: known.id.clone(),
            tags: Vec::new(),
            bytes: 0,
            over: true,
            before: (!replaces.is_empty()).then_some(replaces),
        }
    }

    /// Takes the parts that are there from the first one on, as far as each is as long as
    /// it must be.
    async fn find_parts(&mut self, part_bytes: u64, bytes: u64) -> Result<(), BucketError> {
        loop {
            let from = self.parts();
            let (most, marker) = (BUCKET_PARTS_LISTED.to_string(), from.to_string());
            let subject = [
                ("max-parts", most.as_str()),
                ("part-number-marker", &marker),
                ("uploadId", &self.id),
            ];
            let text = again(|| listed(&self.outside, (&self.url, &subject))).await?;
            for part in parts_in(&text) {
                let number = |name: &str| element(part, name)?.parse::<u64>().ok();
                let due = bytes.saturating_sub(self.bytes).min(part_bytes);
                let next = number("PartNumber") == Some(self.parts() + 1);
                let Some(tag) = element(part, "ETag").filter(|_| next) else {
                    return Ok(());
                };
                if due == 0 || number("Size") != Some(due) {
                    return Ok(());
                }
                self.tags.push(unescaped(tag));
                self.bytes += due;
            }
            let more = element(&text, "IsTruncated") == Some("true");
            if !more || self.parts() == from {
                return Ok(());
            }
        }
    }

    /// Gives the parts their name. Where it fails they stay, and may be gone on with.
    ///
    /// # Errors
    /// [`BucketError`], once it was asked a few times.
    pub async fn complete(&self) -> Result<(), BucketError> {
        match again(|| self.try_finish(false)).await {
            // It may have done so, and its answer was lost.
            Err(error) if error.is_no_upload() => match self.has_name(self.parts()).await? {
                true => Ok(()),
                false => Err(error),
            },
            ended => ended,
        }
    }

    async fn has_name(&self, parts: u64) -> Result<bool, BucketError> {
        match self.is_there(parts).await {
            Err(error) if error.may_not_look() => Ok(false),
            found => found,
        }
    }

    /// Leaves nothing in the bucket of one that nobody goes on with.
    pub async fn abandon(outside: &Outside, url: &Url, known: &BucketUpload) -> Left {
        PartedUpload::of(outside, url, known).give_up().await
    }
}

impl BucketError {
    /// Not where the bucket is gone, or a wrong server answers, which may pass.
    fn is_no_upload(&self) -> bool {
        let BucketError::Refused { status, code } = self else {
            return false;
        };
        *status == 404 && (code.is_empty() || code == "NoSuchUpload")
    }
}

async fn listed(outside: &Outside, subject: (&Url, &Subject<'_>)) -> Result<String, BucketError> {
    let mut answer = ask(outside, Method::GET, subject).await?;
    text_of(&mut answer).await
}

/// What is said of each part, in their order.
fn parts_in(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("<Part>").skip(1);
    parts.filter_map(|rest| Some(rest.split_once("</Part>")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_one_by_one() {
        let text = "<R><PartNumberMarker>0</PartNumberMarker><Part><ETag>a</ETag></Part>\
                    <Part><ETag>b</ETag></Part><Part><ETag>cut";
        let tags: Vec<_> = parts_in(text).map(|part| element(part, "ETag")).collect();
        assert_eq!(tags, [Some("a"), Some("b")]);
    }
}
