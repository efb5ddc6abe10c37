//! The typed calls of a connection, each in the highest version that both sides know.

use kafka_protocol::messages as m;

use crate::{Connection, WireError};

macro_rules! calls {
    ($($(#[$about:meta])* $method:ident: $name:literal $request:ident -> $response:ident;)*) => {
        impl Connection {
            $(
                $(#[$about])*
                ///
                /// # Errors
                /// Any [`WireError`] but [`WireError::Answer`]: error codes are left in the answer.
                pub async fn $method(&self, request: &m::$request) -> Result<m::$response, WireError> {
                    self.call($name, request).await
                }
            )*
        }
    };
}

calls! {
    /// Brokers, topics, leaders.
    metadata: "Metadata" MetadataRequest -> MetadataResponse;
    /// New topics.
    create_topics: "CreateTopics" CreateTopicsRequest -> CreateTopicsResponse;
    /// More partitions.
    create_partitions: "CreatePartitions" CreatePartitionsRequest -> CreatePartitionsResponse;
    /// Topics that go.
    delete_topics: "DeleteTopics" DeleteTopicsRequest -> DeleteTopicsResponse;
    /// Settings.
    describe_configs: "DescribeConfigs" DescribeConfigsRequest -> DescribeConfigsResponse;
    /// Single settings that change.
    incremental_alter_configs: "IncrementalAlterConfigs" IncrementalAlterConfigsRequest -> IncrementalAlterConfigsResponse;
    /// Offsets by time, or at an end, of partitions that this broker leads.
    list_offsets: "ListOffsets" ListOffsetsRequest -> ListOffsetsResponse;
    /// Who coordinates groups.
    find_coordinator: "FindCoordinator" FindCoordinatorRequest -> FindCoordinatorResponse;
    /// Groups that this broker coordinates.
    list_groups: "ListGroups" ListGroupsRequest -> ListGroupsResponse;
    /// Classic groups with members.
    describe_groups: "DescribeGroups" DescribeGroupsRequest -> DescribeGroupsResponse;
    /// Groups of KIP-848 with members.
    consumer_group_describe: "ConsumerGroupDescribe" ConsumerGroupDescribeRequest -> ConsumerGroupDescribeResponse;
    /// Committed offsets.
    offset_fetch: "OffsetFetch" OffsetFetchRequest -> OffsetFetchResponse;
    /// Commits offsets.
    offset_commit: "OffsetCommit" OffsetCommitRequest -> OffsetCommitResponse;
    /// Groups that go.
    delete_groups: "DeleteGroups" DeleteGroupsRequest -> DeleteGroupsResponse;
}
