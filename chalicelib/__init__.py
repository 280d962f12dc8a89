"""The order execution engine: everything that ships to Lambda.

Imports point one way: app → execution, streaming, web → routing → venues → orders, and store → orders.
"""
