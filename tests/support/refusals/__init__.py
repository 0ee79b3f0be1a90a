"""What nodes of single methods refuse or remark, in their own words. A case is a row of the table of its module.

Networks in a row are `value(...)`, so that they are made when the case runs.
"""
