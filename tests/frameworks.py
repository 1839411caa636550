"""Real sites of three frameworks, and the virtual environment that they run in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fastcgi_client import PYTHON

FLASK = """
from flask import Flask, Response, request, session
app = Flask(__name__)
app.secret_key = "x"

@app.get("/hello/<name>")
def hello(name):
    session["seen"] = name
    return {"hello": name, "url": request.url, "seen": session["seen"]}

@app.post("/upload")
def upload():
    return {"size": len(request.files["file"].read()), "name": request.form["name"]}

@app.get("/stream")
def stream():
    return Response((f"{number}\\n" for number in range(1000)), mimetype="text/plain")

@app.get("/broken")
def broken():
    return 1 / 0
"""
DJANGO_SETTINGS = """
from pathlib import Path
SECRET_KEY = "x" * 50
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db"}}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
"""
DJANGO_URLS = """
from django.contrib.auth.models import User
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

def users(request):
    if request.method == "POST":
        User.objects.create_user(request.POST["name"])
    return JsonResponse({"users": sorted(User.objects.values_list("username", flat=True)), "path": request.path})

def stream(request):
    return StreamingHttpResponse(f"{number}\\n" for number in range(1000))

urlpatterns = [path("users/", csrf_exempt(users)), path("stream", stream)]
"""
DJANGO_WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
application = get_wsgi_application()
"""
STARLETTE = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

@asynccontextmanager
async def lifespan(app):
    app.state.started = True
    yield
    print("ended", flush=True)

async def where(request):
    return JSONResponse({
        "path": request.url.path, "root": request.scope["root_path"], "client": request.client.host,
        "scheme": request.url.scheme, "started": request.app.state.started, "body": len(await request.body()),
    })

async def echo(socket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())

routes = [Route("/where", where, methods=["GET", "POST"]), WebSocketRoute("/echo", echo)]
app = Starlette(routes=routes, lifespan=lifespan)
"""
MASKED_HELLO = bytes([0x81, 0x85, 0, 0, 0, 0]) + b"hello"  # a text frame with the mask 0 (RFC 6455, 5.2)


def make_home(folder: Path) -> Path:
    """A virtual environment as an owner has one, with the frameworks."""
    home = folder / "venv"
    subprocess.run([PYTHON, "-m", "venv", str(home)], check=True)
    install = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    packages = ["flask", "django", "starlette", "uvicorn", "websockets"]
    subprocess.run([*install, *packages], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return home
