from flow.core.stage import Job, Stage
STAGE = Stage("rtlsim", lambda job: None)
