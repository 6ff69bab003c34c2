"""The protocol of a federation whose server and sites exchange messages, without any transport."""
