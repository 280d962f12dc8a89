"""What clients meet: requests and their errors, the REST answers, the WebSocket protocol."""
