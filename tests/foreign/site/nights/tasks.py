from huey.contrib.djhuey import db_task, task


@task()
def close_the_books(year: int) -> str:
    return f"closed {year}"


@db_task(name="send_invoices")
def send(customer: str, api_token: str) -> None:
    raise RuntimeError(f"no invoice for {customer}")
