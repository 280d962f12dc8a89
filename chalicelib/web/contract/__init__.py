"""The contract: what the API takes and answers, written from the types that read and write it.

Nothing here runs unless somebody asks for the contract: only ``Engine.contract`` imports it, when it is first read.
"""
