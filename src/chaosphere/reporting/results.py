"""Names of `claims`, `intervals` and `netcdf` under one roof."""

from chaosphere.common.config import configuration as configuration
from chaosphere.reporting.claims import Claim as Claim
from chaosphere.reporting.claims import format_claims as format_claims
from chaosphere.reporting.claims import summary as summary
from chaosphere.reporting.intervals import CONFIDENCE as CONFIDENCE
from chaosphere.reporting.intervals import FEWEST_REPLICAS as FEWEST_REPLICAS
from chaosphere.reporting.intervals import effective_replicas as effective_replicas
from chaosphere.reporting.intervals import log_slope as log_slope
from chaosphere.reporting.intervals import mean_interval as mean_interval
from chaosphere.reporting.intervals import ratio_of_means as ratio_of_means
from chaosphere.reporting.intervals import root_mean_square as root_mean_square
from chaosphere.reporting.netcdf import identity as identity
from chaosphere.reporting.netcdf import load as load
from chaosphere.reporting.netcdf import locked
from chaosphere.reporting.netcdf import require as require
from chaosphere.reporting.netcdf import resume as resume
from chaosphere.reporting.netcdf import save as save
from chaosphere.reporting.netcdf import study_differences as study_differences

held = locked
