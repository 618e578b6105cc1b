"""The audited model: loading, rendering and tokenising, activations, answers, loss; torch stays in here."""
