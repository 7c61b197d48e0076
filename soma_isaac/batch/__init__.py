"""Batches of clips that lose nothing: plan, ledger, supervisor, worker, report."""
