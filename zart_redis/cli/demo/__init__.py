"""`zart demo`: durable execution shown on real work, for somebody who has never heard of it. Nothing in it is faked."""
