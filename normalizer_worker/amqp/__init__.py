"""The worker's AMQP connection to RabbitMQ: partitions, seats, acknowledgements and receipts."""
